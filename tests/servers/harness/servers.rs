//! How each real server runs without a desktop, on loopback.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::http;
use super::openssl::Certificate;
use super::process::{Process, Server, command, directory, free_port, lossy, run};

/// xrdp, with the keys of its configuration that matter here.
pub(crate) struct Xrdp {
    /// `negotiate`, `tls` or `rdp`.
    pub(crate) security_layer: &'static str,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) ssl_protocols: &'static str,
    pub(crate) tls_ciphers: &'static str,
    /// `none`, `low`, `medium`, `high` or `fips`: matters without TLS only.
    pub(crate) crypt_level: &'static str,
    /// Whether OpenSSL is told to accept what it calls insecure.
    pub(crate) weak: bool,
}

impl Xrdp {
    pub(crate) fn tls(certificate: &Certificate) -> Self {
        Self {
            security_layer: "tls",
            certificate: certificate.certificate.clone(),
            key: certificate.key.clone(),
            ssl_protocols: "TLSv1.2, TLSv1.3",
            tls_ciphers: "",
            crypt_level: "high",
            weak: false,
        }
    }

    /// Every xrdp writes its pid file to the same place: each gets its own /run in a mount namespace of its own. It also
    /// gets its own key for Standard RDP Security, because only root and xrdp may read the installed one.
    pub(crate) fn start(&self) -> Server {
        self.start_on(free_port())
    }

    /// On this port of 127.0.0.1, where another one may have been before.
    pub(crate) fn start_on(&self, port: u16) -> Server {
        let directory = directory();
        let folder = directory.path().to_owned();
        fs::write(folder.join("xrdp.ini"), self.configuration(port, &directory)).unwrap();
        run(command("xrdp-keygen").arg("xrdp").arg(folder.join("rsakeys.ini")));
        let mut unshare = command("unshare");
        unshare.arg("--mount").args((!rustix::process::geteuid().is_root()).then_some("--map-root-user"));
        unshare.args(["sh", "-c", START, "sh"]).arg(command("xrdp").get_program()).arg(&folder);
        if self.weak {
            fs::write(folder.join("openssl.cnf"), WEAK_OPENSSL).unwrap();
            unshare.env("OPENSSL_CONF", folder.join("openssl.cnf"));
        }
        return Server::start("xrdp", port, &unshare, directory);

        const START: &str = "mount -t tmpfs none /run && mkdir /run/xrdp && \
            mount --bind \"$2/rsakeys.ini\" /etc/xrdp/rsakeys.ini && exec \"$1\" -n -c \"$2/xrdp.ini\"";
    }

    fn configuration(&self, port: u16, directory: &TempDir) -> String {
        let Self { security_layer, certificate, key, ssl_protocols, tls_ciphers, crypt_level, weak: _ } = self;
        let (certificate, key, folder) = (certificate.display(), key.display(), directory.path().display());
        let ciphers = if tls_ciphers.is_empty() { String::new() } else { format!("tls_ciphers={tls_ciphers}\n") };
        format!(
            "[Globals]\nini_version=1\nfork=true\nport=tcp://127.0.0.1:{port}\nsecurity_layer={security_layer}\n\
             crypt_level={crypt_level}\ncertificate={certificate}\nkey_file={key}\nssl_protocols={ssl_protocols}\n{ciphers}\
             max_bpp=32\n[Logging]\nLogFile={folder}/xrdp.log\nLogLevel=INFO\nEnableSyslog=false\n\
             [Xvnc]\nname=Xvnc\nlib=libvnc.so\nusername=ask\npassword=ask\nip=127.0.0.1\nport=-1\n"
        )
    }
}

/// FreeRDP's shadow server on an X server of its own.
pub(crate) struct Shadow {
    pub(crate) server: Server,
    _display: Process,
}

impl Shadow {
    /// `security` is `nla`, `tls` or `rdp`.
    pub(crate) fn start(security: &str, certificate: &Certificate) -> Self {
        let (display, number) = start_display();
        let directory = directory();
        let port = free_port();
        let folder = directory.path();
        let keys = folder.join("freerdp/shadow");
        fs::create_dir_all(&keys).unwrap();
        fs::copy(&certificate.certificate, keys.join("shadow.crt")).unwrap();
        fs::copy(&certificate.key, keys.join("shadow.key")).unwrap();
        fs::write(folder.join("sam"), "nobody:::00000000000000000000000000000000:::\n").unwrap();
        let mut shadow = command("freerdp-shadow-cli");
        shadow.env("DISPLAY", format!(":{number}")).env("HOME", folder).env("XDG_CONFIG_HOME", folder);
        shadow.args(["/bind-address:127.0.0.1", &format!("/port:{port}"), &format!("/sec:{security}")]);
        shadow.arg(format!("/sam-file:{}", folder.join("sam").display()));
        Self { server: Server::start("freerdp-shadow-cli", port, &shadow, directory), _display: display }
    }
}

pub(crate) fn start_weston(certificate: &Certificate) -> Server {
    let directory = directory();
    let port = free_port();
    let mut weston = command("weston");
    weston.env("XDG_RUNTIME_DIR", directory.path());
    weston.args(["--no-config", "--backend=rdp-backend.so", "--address=127.0.0.1", "--idle-time=0"]);
    weston.arg(format!("--port={port}"));
    weston.arg(format!("--rdp-tls-cert={}", certificate.certificate.display()));
    weston.arg(format!("--rdp-tls-key={}", certificate.key.display()));
    Server::start("weston", port, &weston, directory)
}

/// A bare TLS server: no RDP by itself, see [`super::peer::Peer::relay`].
pub(crate) fn start_s_server(certificate: &Certificate) -> Server {
    start_s_server_with(certificate, &["-cipher", "ALL:@SECLEVEL=0"])
}

/// The same, limited by arguments of `openssl s_server`.
pub(crate) fn start_s_server_with(certificate: &Certificate, arguments: &[&str]) -> Server {
    let port = free_port();
    let mut openssl = command("openssl");
    openssl.args(["s_server", "-quiet", "-accept", &format!("127.0.0.1:{port}")]).args(arguments);
    openssl.arg("-cert").arg(&certificate.certificate).arg("-key").arg(&certificate.key);
    openssl.arg("-cert_chain").arg(&certificate.certificate);
    Server::start("openssl s_server", port, &openssl, directory())
}

/// Prometheus, scraping one target every second.
pub(crate) fn start_prometheus(target: &str) -> Server {
    start_prometheus_with(&serde_json::json!([{ "job_name": "rdp", "static_configs": [{ "targets": [target] }] }]))
}

/// Prometheus with these scrape configurations, every second.
pub(crate) fn start_prometheus_with(scrape_configs: &serde_json::Value) -> Server {
    let directory = directory();
    let config = serde_json::json!({
        "global": { "scrape_interval": "1s", "scrape_timeout": "1s" },
        "scrape_configs": scrape_configs,
    });
    fs::write(directory.path().join("prometheus.yml"), config.to_string()).unwrap();
    start_prometheus_in(directory)
}

/// Prometheus with the `prometheus.yml` of this directory.
pub(crate) fn start_prometheus_in(directory: TempDir) -> Server {
    let port = free_port();
    let folder = directory.path();
    let mut prometheus = command("prometheus");
    prometheus.arg(format!("--config.file={}", folder.join("prometheus.yml").display()));
    prometheus.arg(format!("--storage.tsdb.path={}", folder.join("data").display()));
    prometheus.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    let mut process = Process::start("prometheus", &prometheus, directory);
    // It listens before it has opened its database, and answers 503 until then.
    process.wait_until("/-/ready", || http::get(port, "/-/ready").ok().filter(|(status, _)| *status == 200));
    Server::of(process, port)
}

/// What `openssl s_client` sees on a port: its whole report and its errors.
pub(crate) fn s_client(port: u16) -> String {
    let mut openssl: Command = command("openssl");
    openssl.args(["s_client", "-cipher", "ALL:@SECLEVEL=0", "-connect", &format!("127.0.0.1:{port}")]);
    let output = openssl.stdin(std::process::Stdio::null()).output().unwrap();
    lossy(&output.stdout) + &lossy(&output.stderr)
}

/// Version and cipher suite, in the words of the metrics, that openssl's client gets from a port with these arguments.
pub(crate) fn negotiated(port: u16, arguments: &[&str]) -> (String, String) {
    let mut openssl = command("openssl");
    openssl.args(["s_client", "-brief", "-min_protocol", "TLSv1", "-connect", &format!("127.0.0.1:{port}")]);
    let output = openssl.args(arguments).stdin(std::process::Stdio::null()).output().unwrap();
    let said = lossy(&output.stderr) + &lossy(&output.stdout);
    let field = |start: &str| {
        let value = said.lines().find_map(|line| line.strip_prefix(start));
        value.unwrap_or_else(|| panic!("no {start} in {said}")).trim().to_owned()
    };
    let version = match field("Protocol version:").as_str() {
        "TLSv1" => "TLS 1.0".to_owned(),
        other => other.replace("TLSv", "TLS "),
    };
    (version, registered_name(&field("Ciphersuite:")))
}

/// IANA's name of a cipher suite that openssl calls otherwise.
fn registered_name(cipher: &str) -> String {
    let list = run(command("openssl").args(["ciphers", "-stdname", "ALL:@SECLEVEL=0"]));
    let names = list.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let (registered, _, own) = (words.next()?, words.next()?, words.next()?);
        (own == cipher).then(|| registered.to_owned())
    });
    names.unwrap_or_else(|| panic!("{cipher} is not in {list}"))
}

/// An X server that nobody sees, and its number.
fn start_display() -> (Process, u32) {
    let mut xvfb = command("Xvfb");
    xvfb.args(["-displayfd", "1", "-screen", "0", "640x480x24", "-noreset", "-nolisten", "tcp"]);
    let mut process = Process::start("Xvfb", &xvfb, directory());
    let log = process.log_file();
    let number = process.wait_until("display number", || {
        let text = fs::read_to_string(&log).ok()?;
        text.lines().find_map(|line| line.trim().parse().ok())
    });
    (process, number)
}

const WEAK_OPENSSL: &str = "openssl_conf = all\n[all]\nssl_conf = ssl\n[ssl]\nsystem_default = weak\n\
    [weak]\nMinProtocol = TLSv1\nCipherString = ALL:@SECLEVEL=0\n";
