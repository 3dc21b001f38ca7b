//! curl, and a web configuration with what it needs.
//! INVARIANT: nothing here asks the exporter what the truth is.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::exporter::serve_web;
use super::openssl::{Certificate, Recipe, Workshop};
use super::process::{Server, command, directory, lossy, run};

/// What curl got; status 0: no answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) version: String,
    pub(crate) head: String,
    pub(crate) body: String,
    /// For whoever reads why a test failed.
    #[expect(dead_code, reason = "shown by Debug")]
    errors: String,
}

/// Asks with these arguments, past any proxy and configuration of this machine.
pub(crate) fn curl(arguments: &[&str]) -> Answer {
    let mut curl = command("curl");
    curl.args(["--disable", "--noproxy", "*", "--silent", "--show-error", "--include", "--max-time", "30"]);
    let output = curl.args(["--write-out", "\n%{http_code} %{http_version}"]).args(arguments).output().unwrap();
    let said = lossy(&output.stdout);
    let (answer, numbers) = said.rsplit_once('\n').unwrap();
    let (status, version) = numbers.split_once(' ').unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    Answer {
        status: status.parse().unwrap(),
        version: version.to_owned(),
        head: head.to_lowercase(),
        body: body.to_owned(),
        errors: lossy(&output.stderr),
    }
}

/// A bcrypt hash by the system's own crypt(3).
pub(crate) fn bcrypt(password: &str, cost: u8) -> String {
    let setting = format!("$2b${cost:02}$abcdefghijklmnopqrstuu");
    run(command("perl").args(["-e", "print crypt($ARGV[0], $ARGV[1])", password, &setting]))
}

/// A folder with a web configuration, and what it needs: the certificates of an authority for this machine.
pub(crate) struct Site {
    pub(crate) workshop: Workshop,
    pub(crate) authority: Certificate,
    pub(crate) server: Certificate,
    pub(crate) folder: TempDir,
}

impl Site {
    pub(crate) fn new() -> Self {
        let workshop = Workshop::new();
        let authority = workshop.self_signed(&Recipe::authority("Site CA"));
        let server = workshop.issued(&recipe("exporter", "DNS:localhost,IP:127.0.0.1", "serverAuth"), &authority);
        let site = Self { workshop, authority, server, folder: directory() };
        site.install(&site.server);
        fs::copy(&site.authority.certificate, site.path("ca.pem")).unwrap();
        site
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes it the server's own.
    pub(crate) fn install(&self, certificate: &Certificate) {
        fs::copy(&certificate.certificate, self.path("server.pem")).unwrap();
        fs::copy(&certificate.key, self.path("server.key")).unwrap();
    }

    /// A certificate that this site's authority issued to a client.
    pub(crate) fn client(&self, name: &str, sans: &str) -> Certificate {
        self.workshop.issued(&recipe(name, sans, "clientAuth"), &self.authority)
    }

    /// Writes the web configuration; `tls_server_config` gets the server's certificate.
    pub(crate) fn write(&self, mut config: Value) {
        if let Some(tls) = config.get_mut("tls_server_config") {
            tls["cert_file"] = json!("server.pem");
            tls["key_file"] = json!("server.key");
        }
        fs::write(self.path("web.yml"), config.to_string()).unwrap();
    }

    pub(crate) fn serve(&self, config: Value) -> Server {
        self.write(config);
        serve_web(&[&self.flag()])
    }

    pub(crate) fn flag(&self) -> String {
        format!("--web.config.file={}", self.path("web.yml").display())
    }

    /// Asks over HTTPS, trusting the site's authority alone.
    pub(crate) fn ask(&self, exporter: &Server, path: &str, arguments: &[&str]) -> Answer {
        let authority = text(&self.authority.certificate);
        let url = format!("https://localhost:{}{path}", exporter.port);
        let resolve = format!("localhost:{}:127.0.0.1", exporter.port);
        curl(&[&["--cacert", &authority, "--resolve", &resolve, &url], arguments].concat())
    }

    pub(crate) fn ask_as(&self, exporter: &Server, client: &Certificate) -> Answer {
        self.ask(exporter, "/-/healthy", &["--cert", &text(&client.certificate), "--key", &text(&client.key)])
    }
}

pub(crate) fn recipe(name: &str, sans: &str, usage: &str) -> Recipe {
    Recipe::named(name, &[&format!("subjectAltName={sans}"), &format!("extendedKeyUsage={usage}")])
}

pub(crate) fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// Asks over plain HTTP.
pub(crate) fn ask(exporter: &Server, path: &str, arguments: &[&str]) -> Answer {
    curl(&[&[format!("http://127.0.0.1:{}{path}", exporter.port).as_str()], arguments].concat())
}
