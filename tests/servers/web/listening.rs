//! Where the exporter listens, below which path, and how much it takes at once.

use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use serde_json::json;
use socket2::{Domain, Socket, Type};

use super::{Site, ask, curl};
use crate::harness::exporter::{address, binary, serve_web};
use crate::harness::process::{Server, command, directory, free_port, lossy, require, wait_until};

#[test]
fn several_addresses_are_listened_on() {
    if !require(&["curl"]) {
        return;
    }
    let other = free_port();
    let exporter = serve_web(&[&format!("--web.listen-address=127.0.0.2:{other}")]);
    assert_eq!(ask(&exporter, "/-/healthy", &[]).status, 200);
    assert_eq!(curl(&[&format!("http://127.0.0.2:{other}/-/healthy")]).status, 200);
    wait_until("both are logged", Duration::from_secs(10), || {
        (exporter.log().matches("Listening").count() == 2).then_some(())
    });

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let output = binary().args(["--web.listen-address=127.0.0.1:0", &format!("--web.listen-address={taken}")]).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(lossy(&output.stderr).contains(&format!("listen on {taken}")), "{}", lossy(&output.stderr));
}

#[test]
fn systemd_hands_its_sockets_over() {
    if !require(&["curl", "systemd-socket-activate"]) {
        return;
    }
    let (first, second) = (free_port(), free_port());
    let mut activate = command("systemd-socket-activate");
    activate.args([&format!("--listen={}", address(first)), &format!("--listen={}", address(second))]);
    activate.arg(binary().get_program()).args(["--web.systemd-socket", "--web.listen-address=127.0.0.1:1"]);
    let exporter = Server::start("systemd-socket-activate", first, &activate, directory());
    for port in [first, second] {
        let answer = curl(&[&format!("http://{}/-/healthy", address(port))]);
        assert_eq!(answer.status, 200, "{answer:?}\n{}", exporter.log());
    }
}

#[test]
fn without_a_socket_of_systemd_it_does_not_start() {
    let output = binary().arg("--web.systemd-socket").env_remove("LISTEN_FDS").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(lossy(&output.stderr).contains("no socket was handed over"), "{}", lossy(&output.stderr));
}

/// Flags; paths that answer; the link to the configuration; where `/` leads, if elsewhere.
#[test]
fn everything_lies_below_the_route_prefix() {
    if !require(&["curl"]) {
        return;
    }
    for (flags, below, elsewhere, start) in [
        (&["--web.route-prefix=/rdp"][..], "/rdp", "", Some("/rdp/")),
        (&["--web.route-prefix=/rdp/"], "/rdp", "", Some("/rdp/")),
        (&["--web.route-prefix=/"], "", "/rdp", None),
        (&["--web.external-url=https://monitor.example/a/b/"], "/a/b", "", Some("/a/b/")),
        (&["--web.external-url=https://monitor.example:8443"], "", "/a", None),
        // A proxy that takes the prefix away.
        (&["--web.external-url=http://monitor.example/rdp", "--web.route-prefix=/"], "", "/rdp", None),
        (&["--web.route-prefix=/rdp", "--web.telemetry-path=/probe-metrics"], "/rdp", "", Some("/rdp/")),
    ] {
        let exporter = serve_web(flags);
        let metrics = if flags.len() == 2 && flags[1].contains("telemetry") { "/probe-metrics" } else { "/metrics" };
        for (route, status) in [("/", 200), (metrics, 200), ("/-/healthy", 200), ("/-/ready", 200), ("/probe?x=y", 400)]
        {
            assert_eq!(ask(&exporter, &format!("{below}{route}"), &[]).status, status, "{flags:?} {route}");
        }
        assert_eq!(ask(&exporter, &format!("{below}/-/reload"), &["--request", "POST"]).status, 200, "{flags:?}");
        assert_eq!(ask(&exporter, &format!("{elsewhere}/-/healthy"), &[]).status, 404, "{flags:?}");
        let answer = ask(&exporter, "/", &[]);
        match start {
            Some(start) => {
                assert_eq!(answer.status, 302, "{flags:?}");
                assert!(answer.head.contains(&format!("\r\nlocation: {start}\r\n")), "{flags:?}: {answer:?}");
            }
            None => assert_eq!(answer.status, 200, "{flags:?}"),
        }
        let external = if flags.len() == 2 && below.is_empty() { "/rdp" } else { below };
        let page = ask(&exporter, &format!("{below}/"), &[]).body;
        assert!(page.contains(&format!("href=\"{external}/config\"")), "{flags:?}: {page}");
    }
    for wrong in [
        "--web.route-prefix=rdp",
        "--web.route-prefix=//evil.example",
        "--web.route-prefix=/\"><script>",
        "--web.external-url=monitor.example/rdp",
        "--web.external-url=https:///rdp",
        "--web.external-url=https://monitor.example/r?d=p",
    ] {
        assert_eq!(binary().arg(wrong).output().unwrap().status.code(), Some(2), "{wrong}");
    }
}

#[test]
fn the_warning_comes_only_where_nothing_is_asked_for() {
    if !require(&["openssl", "perl"]) {
        return;
    }
    let site = Site::new();
    for (config, is_open) in [
        (json!({}), true),
        (json!({ "tls_server_config": {} }), true),
        (json!({ "tls_server_config": { "client_auth_type": "RequireAnyClientCert" } }), true),
        (
            json!({ "tls_server_config": { "client_auth_type": "VerifyClientCertIfGiven", "client_ca_file": "ca.pem" } }),
            true,
        ),
        (
            json!({ "tls_server_config": { "client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": "ca.pem" } }),
            false,
        ),
        (json!({ "basic_auth_users": { "alice": super::bcrypt("secret", 4) } }), false),
    ] {
        site.write(config.clone());
        let [everywhere, last] = [(); 2].map(|()| free_port());
        let flags = [format!("--web.listen-address=:{everywhere}"), format!("--web.listen-address=127.0.0.1:{last}")];
        let exporter = serve_web(&[&site.flag(), &flags[0], &flags[1]]);
        // They are announced in order, each with its warning.
        wait_until("last address in the log", Duration::from_secs(30), || {
            exporter.log().contains(&format!("address=127.0.0.1:{last}")).then_some(())
        });
        assert_eq!(exporter.log().contains("there is no authentication"), is_open, "{config}: {}", exporter.log());
    }
}

#[test]
fn the_rate_limit_answers_429() {
    if !require(&["curl", "openssl"]) {
        return;
    }
    let site = Site::new();
    let exporter = site.serve(json!({ "rate_limit": { "interval": "1h", "burst": 3 } }));
    let statuses: Vec<u16> = (0..5).map(|_| ask(&exporter, "/-/healthy", &[]).status).collect();
    assert_eq!(statuses, [200, 200, 200, 429, 429]);
}

/// A scraper that reads nothing holds the only place.
#[test]
fn scrapes_beyond_the_limit_get_503() {
    if !require(&["curl"]) {
        return;
    }
    // More text than the system's buffers take.
    let addresses: Vec<String> =
        (0..3000).map(|number| format!("127.1.{}.{}:1", number / 250, 1 + number % 250)).collect();
    let config = json!({
        "probe": { "interval": "1d" },
        "targets": [{ "addresses": addresses, "labels": { "long": "x".repeat(1000) } }],
    });
    let folder = directory();
    let file = folder.path().join("config.yml");
    fs::write(&file, config.to_string()).unwrap();
    let exporter = serve_web(&["--web.max-requests=1", &format!("--config.file={}", file.display())]);
    let status = || ask(&exporter, "/metrics", &["--output", "/dev/null"]).status;
    assert_eq!(status(), 200);

    let silent = wait_until("refusal", Duration::from_secs(60), || {
        // A new one each time, as it has to make room after a second.
        let silent = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        silent.set_recv_buffer_size(4096).unwrap();
        silent.connect(&SocketAddr::from(([127, 0, 0, 1], exporter.port)).into()).unwrap();
        let mut silent = TcpStream::from(silent);
        silent.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        (status() == 503).then_some(silent)
    });
    assert_eq!(ask(&exporter, "/-/healthy", &[]).status, 200, "only scrapes are counted");
    drop(silent);
    wait_until("free place", Duration::from_secs(20), || (status() == 200).then_some(()));
}

#[test]
fn headers_of_the_web_configuration_are_on_every_answer() {
    if !require(&["curl", "openssl"]) {
        return;
    }
    let site = Site::new();
    let exporter = site.serve(json!({ "http_server_config": { "headers": {
        "X-Frame-Options": "deny", "Strict-Transport-Security": "max-age=60", "Content-Security-Policy": "",
    } } }));
    for path in ["/", "/metrics", "/nowhere"] {
        let head = ask(&exporter, path, &[]).head;
        assert!(head.contains("\r\nx-frame-options: deny\r\n"), "{path}: {head}");
        assert!(head.contains("\r\nstrict-transport-security: max-age=60\r\n"), "{path}: {head}");
        assert!(head.contains("\r\nx-content-type-options: nosniff\r\n"), "{path}: {head}");
        assert!(!head.contains("content-security-policy"), "{path}: {head}");
    }
}
