//! `/probe` cannot be turned against the network: what it refuses, how many it runs, and how long it takes.

use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use rdp_exporter::wire::negotiation::Protocols;
use socket2::{Domain, Socket, Type};

use crate::{
    endpoint::{Endpoint, Step, answering, selecting},
    serving::Exporter,
};

#[test]
fn without_a_configuration_special_addresses_are_refused() {
    let exporter = Exporter::start(None);
    for target in SPECIAL {
        assert_eq!(exporter.get(&format!("/probe?target={target}")).0, 403, "{target}");
    }
    for target in ["192.0.2.1:3390", "192.0.2.1:1", "[2001:db8::1]:3390"] {
        assert_eq!(exporter.get(&format!("/probe?target={target}")).0, 403, "another port: {target}");
    }
}

#[test]
fn what_is_no_target_is_refused_and_connects_to_nobody() {
    let endpoint = Endpoint::start(vec![]);
    let port = endpoint.address.port();
    let exporter =
        Exporter::start(Some(&format!("probe_endpoint: {{ allow: [0.0.0.0/0, \"::/0\"], ports: [{port}] }}\n")));
    for host in NO_HOSTS {
        let answer = exporter.get(&format!("/probe?target={host}:{port}"));
        assert_eq!(answer.0, 400, "{host}: {}", answer.text());
        assert!(!answer.text().trim_end().contains(|byte: char| byte.is_control()), "{host}: {:?}", answer.text());
    }
    for port in ["0", "65536", "99999999999999999999", "-1", "%2b1", "", "x", "1:2", "1/"] {
        assert_eq!(exporter.get(&format!("/probe?target=127.0.0.1:{port}")).0, 400, "port {port:?}");
    }
    let long = format!("{}localhost:{port}", "a.".repeat(5000));
    let allowed = format!("127.0.0.1:{port}");
    for query in [
        String::new(),
        "target=".to_owned(),
        format!("target={long}"),
        format!("target={allowed}&module=unknown"),
        format!("target={allowed}&module="),
        format!("target={allowed}&target={allowed}"),
        format!("target=&target={allowed}"),
        format!("target={allowed}&module=default&module=default"),
        format!("Target={allowed}"),
    ] {
        assert_eq!(exporter.get(&format!("/probe?{query}")).0, 400, "{:.80}", query);
    }
    for (target, why) in [("127.0.0.1", "the default port is not listed"), ("127.0.0.1:1", "nor is this")] {
        assert_eq!(exporter.get(&format!("/probe?target={target}")).0, 403, "{why}");
    }
    assert!(endpoint.finish().is_empty(), "nobody was connected to");
}

#[test]
fn the_fence_is_checked_against_the_address() {
    let endpoint = answering_always();
    let port = endpoint.address.port();
    let fence =
        |allow: &str| Exporter::start(Some(&format!("probe_endpoint: {{ allow: [{allow}], ports: [{port}] }}\n")));
    let inside = fence("127.0.0.0/8");
    assert_eq!(inside.get(&format!("/probe?target=127.0.0.1:{port}")).0, 200);
    assert_eq!(inside.get(&format!("/probe?target=localhost:{port}")).0, 200, "its address lies in the network");
    assert_eq!(inside.get("/probe?target=127.0.0.1:22").0, 403, "another port");
    let named = fence("localhost");
    assert_eq!(named.get(&format!("/probe?target=localhost:{port}")).0, 403, "an allowed name that leads to loopback");
    let elsewhere = fence("10.0.0.0/8, localhost");
    assert_eq!(elsewhere.get(&format!("/probe?target=localhost:{port}")).0, 403);
    assert_eq!(elsewhere.get(&format!("/probe?target=127.0.0.1:{port}")).0, 403);
    drop((inside, named, elsewhere));
    assert_eq!(endpoint.seen().len(), 2, "only the two allowed probes connected");
}

/// Each has its own address, as two of one address take turns; and the clients are two, as one may not have so many.
#[test]
fn so_many_probes_run_at_once_and_no_more() {
    let silent = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let port = silent.local_addr().unwrap().port();
    let (taken, accepted) = mpsc::channel();
    thread::spawn(move || silent.incoming().flatten().try_for_each(|tcp| taken.send(tcp)));
    let exporter = Exporter::start(Some(&format!(
        "probe: {{ timeout: 4m, interval: 5m }}\nprobe_endpoint: {{ allow: [127.0.0.0/8], ports: [{port}] }}\n"
    )));
    let ask = |host: usize| {
        let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        client.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into()).unwrap();
        client.connect(&exporter.address.parse::<SocketAddr>().unwrap().into()).unwrap();
        let mut client = TcpStream::from(client);
        write!(client, "GET /probe?target=127.0.1.{host}:{port} HTTP/1.0\r\n\r\n").unwrap();
        client
    };
    let waiting: Vec<_> = (0..MAX_PROBES).map(ask).collect();
    let held: Vec<_> = (0..MAX_PROBES).map(|_| accepted.recv_timeout(PATIENCE).unwrap()).collect();
    let refused = exporter.get(&format!("/probe?target=127.0.2.1:{port}"));
    assert_eq!(refused.0, 503, "{}", refused.text());
    // Connections are accepted in order.
    let mark = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    let next = accepted.recv_timeout(PATIENCE).unwrap();
    assert_eq!(next.peer_addr().unwrap(), mark.local_addr().unwrap(), "the one beyond made no connection");
    // Who was accepted is let go, and who comes now as well.
    drop((held, next, accepted));
    for mut client in waiting {
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
    }
    assert_eq!(exporter.get(&format!("/probe?target=127.0.3.1:{}", port)).0, 200, "there is room again");
}

/// Whoever asks for one target again and again neither pushes out the target's own probes nor those of others.
#[test]
fn a_few_wait_for_one_target_and_no_more() {
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let endpoint = answering_always();
    let (port, other) = (silent.local_addr().unwrap().port(), endpoint.address.port());
    let exporter = Exporter::start(Some(&format!(
        "probe: {{ timeout: 4m, interval: 5m }}\nprobe_endpoint: {{ allow: [127.0.0.0/8], ports: [{port}, {other}] }}\n"
    )));
    let ask = |_| {
        let mut client = TcpStream::connect(&exporter.address).unwrap();
        write!(client, "GET /probe?target=127.0.0.1:{port} HTTP/1.0\r\n\r\n").unwrap();
        client.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        client
    };
    let mut waiting: Vec<_> = (0..MAX_OF_ONE + 3).map(ask).collect();
    let deadline = Instant::now() + PATIENCE;
    while waiting.len() > MAX_OF_ONE {
        assert!(Instant::now() < deadline, "{} wait", waiting.len());
        waiting.retain_mut(|client| {
            let is_answered = client.peek(&mut [0]).is_ok();
            if is_answered {
                client.set_read_timeout(Some(PATIENCE)).unwrap();
                let mut answer = String::new();
                client.read_to_string(&mut answer).unwrap();
                assert!(answer.starts_with("HTTP/1.0 503") && answer.contains("retry-after: 1"), "{answer}");
            }
            !is_answered
        });
    }
    assert_eq!(exporter.get(&format!("/probe?target=127.0.0.1:{other}")).0, 200);
    assert!(waiting.iter().all(|client| client.peek(&mut [0]).is_err()), "those still wait");
}

#[test]
fn a_silent_host_is_answered_for_within_what_prometheus_leaves() {
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = silent.local_addr().unwrap().port();
    let exporter = Exporter::start(Some(&format!(
        "probe: {{ timeout: 4m, interval: 5m }}\nprobe_endpoint: {{ allow: [127.0.0.0/8], ports: [{port}] }}\n"
    )));
    let header = "X-Prometheus-Scrape-Timeout-Seconds: 3\r\n";
    let answer = exporter.ask("GET", &format!("/probe?target=127.0.0.1:{port}&survey=true"), header);
    assert_eq!(answer.0, 200);
    let text = answer.text();
    let line = text.lines().find_map(|line| line.strip_prefix("probe_duration_seconds ")).unwrap();
    let took: f64 = line.parse().unwrap();
    assert!((2.0..3.0).contains(&took), "{text}");
}

#[test]
fn odd_scrape_timeouts_are_harmless() {
    let endpoint = answering_always();
    let port = endpoint.address.port();
    let exporter = Exporter::start(Some(&format!("probe_endpoint: {{ allow: [127.0.0.0/8], ports: [{port}] }}\n")));
    let odd = ["-1", "NaN", "inf", "1e400", "1e19", "1e18", "18446744073709551615", "", "text", "5s", "1,5", "0x5"];
    for value in odd {
        let header = format!("X-Prometheus-Scrape-Timeout-Seconds: {value}\r\n");
        let answer = exporter.ask("GET", &format!("/probe?target=127.0.0.1:{port}"), &header);
        assert_eq!(answer.0, 200, "{value:?}: {}", answer.text());
    }
    for (host, value) in [(2, "0"), (3, "-0.0"), (4, "1e-400")] {
        let header = format!("X-Prometheus-Scrape-Timeout-Seconds: {value}\r\n");
        let answer = exporter.ask("GET", &format!("/probe?target=127.0.0.{host}:{port}"), &header);
        assert_eq!(answer.0, 200, "{value:?} leaves the least time: {}", answer.text());
    }
}

#[test]
fn two_modules_at_one_address_at_once_judge_each_by_its_own_expectations() {
    let slow = vec![Step::ReadRequest, Step::Wait(Duration::from_millis(300)), Step::Send(selecting(Protocols::RDP))];
    let endpoint = Endpoint::start(vec![slow]);
    let port = endpoint.address.port();
    let exporter = Exporter::start(Some(&format!(
        "probe: {{ timeout: 1m }}\nmodules: {{ lenient: {{}}, strict: {{ expect: {{ nla: required }} }} }}\n\
         probe_endpoint: {{ allow: [127.0.0.0/8], ports: [{port}] }}\n"
    )));
    thread::scope(|scope| {
        for number in 0..6 {
            let exporter = &exporter;
            scope.spawn(move || {
                let module = ["lenient", "strict"][number % 2];
                let answer = exporter.get(&format!("/probe?target=127.0.0.1:{port}&module={module}"));
                let text = answer.text();
                assert_eq!(answer.0, 200, "{text}");
                let finding = format!("rdp_finding{{target=\"127.0.0.1:{port}\",finding=\"nla_not_offered\"");
                assert_eq!(text.contains(&finding), module == "strict", "{module}: {text}");
            });
        }
    });
    assert_eq!(endpoint.most_open(), 1, "connections to one target never overlap");
}

/// The answer is larger than what the system keeps of it for a client that reads none.
#[cfg(target_os = "linux")]
#[test]
fn a_client_that_reads_nothing_is_not_waited_for() {
    let name = |number: usize| {
        format!("host-{number}.{}example", "sixty-bytes-of-a-label-that-only-makes-the-answer-longer.".repeat(3))
    };
    let names: Vec<_> = (0..60_000).map(name).collect();
    let exporter = Exporter::start(Some(&format!("probe_endpoint: {{ allow: [{}] }}\n", names.join(", "))));
    let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    client.set_recv_buffer_size(4096).unwrap();
    client.connect(&exporter.address.parse::<SocketAddr>().unwrap().into()).unwrap();
    let mut client = TcpStream::from(client);
    client.write_all(b"GET /config HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    client.peek(&mut [0]).unwrap();
    // sl, local address, remote address, state: a line of /proc/net/tcp, ports in hex.
    let ends = [&client.peer_addr().unwrap(), &client.local_addr().unwrap()].map(|end| format!(":{:04X}", end.port()));
    let is_open = || {
        let table = fs::read_to_string("/proc/net/tcp").unwrap();
        table
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .any(|fields| fields[1].ends_with(&ends[0]) && fields[2].ends_with(&ends[1]) && fields[3] == "01")
    };
    assert!(is_open(), "the answer has begun and does not end");
    let deadline = Instant::now() + Duration::from_secs(200);
    while is_open() {
        assert!(Instant::now() < deadline, "the connection is still open");
        thread::sleep(Duration::from_millis(500));
    }
    let mut rest = Vec::new();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let _ = client.read_to_end(&mut rest);
    assert!(rest.len() < names.len() * 150, "it was cut short: {} bytes", rest.len());
}

fn answering_always() -> Endpoint {
    Endpoint::start(vec![answering(selecting(Protocols::RDP))])
}

/// Loopback, link-local, metadata, multicast and unspecified addresses, and the forms of IPv6 that lead to them.
const SPECIAL: [&str; 34] = [
    "127.0.0.1",
    "127.1.2.3:3389",
    "[::1]",
    "[::ffff:127.0.0.1]:3389",
    "[::FFFF:7F00:1]",
    "[::ffff:169.254.169.254]",
    "[::127.0.0.1]",
    "[::ffff:0:127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b:1::127.0.0.1]",
    "[64:ff9b:1:7f00:0:100::]",
    "[2002:7f00:1::]",
    "[2002:a9fe:a9fe::1]",
    "169.254.169.254",
    "169.254.0.1",
    "[fe80::1]",
    "[febf::1]",
    "0.0.0.0",
    "0.1.2.3",
    "[::]",
    "224.0.0.1",
    "[ff02::1]",
    "255.255.255.255",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "[fd00:ec2::254]",
    "[fd00:ec2::23]",
    "[fd20:ce::254]",
    "[fd00:c1::a9fe:a9fe]",
    "[fd00:42::42]",
    "localhost",
    "LocalHost",
];

/// What a resolver or a browser would take for 127.0.0.1, and what is no host at all.
const NO_HOSTS: [&str; 32] = [
    "2130706433",
    "2130706433.",
    "0177.0.0.1",
    "017700000001",
    "0x7f.1",
    "0x7f000001",
    "0X7F000001.",
    "127.0.0.0x1",
    "127.1",
    "127.0.0.1.",
    "127.0.0.01",
    "0",
    "%EF%BC%91%EF%BC%92%EF%BC%97.0.0.1",
    "127%E3%80%820%E3%80%820%E3%80%821",
    "user@localhost",
    "user%40localhost",
    "user:password@localhost",
    "http://localhost",
    "http:%2F%2Flocalhost",
    "//localhost",
    "localhost%2F",
    "localhost%23",
    "localhost%0d%0aX-Injected:%20yes",
    "localhost%0a",
    "localhost%00",
    "%00",
    "local%20host",
    "%20localhost",
    "localhost..",
    "::1",
    "[fe80::1%25lo]",
    "-localhost",
];

/// `MAX_OF_ONE` of src/http/demand.rs.
const MAX_OF_ONE: usize = 16;
/// `MAX_PROBES` of src/http/demand.rs.
const MAX_PROBES: usize = 128;
/// For a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);
