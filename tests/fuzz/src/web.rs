//! What anybody can send to the exporter's own port.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    panic,
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use rdp_exporter::{
    access::Access,
    config::{Config, Reader},
    http::{self, App, Web},
    service::{Origin, Service},
};
use tokio::{
    net::TcpListener,
    runtime,
    signal::unix::{SignalKind, signal},
};

use super::faces;

/// Raw bytes, to an exporter that asks for a password where the first one is odd. What is answered is HTTP and harmless, and
/// the next client is answered as well.
pub(super) fn requests(bytes: &[u8]) {
    let Some((&choice, request)) = bytes.split_first() else { return };
    let is_guarded = choice & 1 == 1;
    let server = servers()[usize::from(is_guarded)];
    check(&ask(server, &[request, b"\r\n\r\n", LAST].concat(), PATIENCE));
    let expected: &[u8] = if is_guarded { b"HTTP/1.1 401 " } else { b"HTTP/1.1 200 " };
    // With patience, as a machine may be loaded.
    let answer = ask(server, LAST, PATIENCE * 30);
    assert!(answer.starts_with(expected), "the next client is told {:?}", String::from_utf8_lossy(&answer));
    assert_eq!(PANICS.load(Ordering::Relaxed), 0, "the server panicked");
}

/// What comes back until the server hangs up, or says nothing any more.
fn ask(server: SocketAddr, bytes: &[u8], patience: Duration) -> Vec<u8> {
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(patience)).unwrap();
    // Whoever is sent nonsense may have hung up by now.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let mut piece = [0; 64 * 1024];
    loop {
        let count = match stream.read(&mut piece) {
            Ok(count @ 1..) => count,
            // libFuzzer's alarm, after which the kernel does not resume a read that has a time limit (signal(7)).
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Ok(0) | Err(_) => break,
        };
        answer.extend_from_slice(&piece[..count]);
        assert!(answer.len() < MAX_LENGTH, "an endless answer");
    }
    answer
}

fn check(answer: &[u8]) {
    let Some(end) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
        assert!(answer.is_empty(), "{}", String::from_utf8_lossy(answer));
        return;
    };
    let head = std::str::from_utf8(&answer[..end]).unwrap();
    let status = head.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).unwrap_or_default();
    assert!(STATUSES.contains(&status), "{head}");
    let head = head.replace("\r\n", "\n");
    faces::check_harmless("head", &head);
    // Which of several answers is compressed is not told apart.
    let is_compressed = answer.windows(COMPRESSED.len()).any(|bytes| bytes == COMPRESSED);
    if !is_compressed {
        let all = std::str::from_utf8(answer).unwrap();
        faces::check_harmless("answer", &all.replace("\r\n", "\n").replace('\t', " "));
    }
}

/// Where everybody may ask, and where a password is wanted.
fn servers() -> [SocketAddr; 2] {
    static SERVERS: OnceLock<[SocketAddr; 2]> = OnceLock::new();
    *SERVERS.get_or_init(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if [Some(THREAD), Some(PROBES)].contains(&thread::current().name()) {
                PANICS.fetch_add(1, Ordering::Relaxed);
            }
            before(panic);
        }));
        let file = std::env::temp_dir().join(format!("rdp_exporter-fuzz-{}-web.yaml", std::process::id()));
        fs::write(&file, PASSWORD).unwrap();
        let guarded = start(Some(file.clone()));
        fs::remove_file(file).unwrap();
        [start(None), guarded]
    })
}

/// An exporter of one target, which refuses at once.
fn start(web_config: Option<PathBuf>) -> SocketAddr {
    let access = Access::load(web_config).unwrap();
    let config = Config::from_yaml(CONFIG, Path::new("config.yaml")).unwrap();
    let (service, threads) = Service::start(config, Origin::default(), Reader::start().unwrap()).unwrap();
    // Until the process ends.
    std::mem::forget(threads);
    let app = Arc::new(App::new(service, access, Web::default()));
    let (tell, told) = std::sync::mpsc::channel();
    let serve = move || {
        let runtime = runtime::Builder::new_current_thread().enable_all().thread_name(THREAD).build().unwrap();
        runtime.block_on(async move {
            // A program that starts in Rust has this signal ignored, and this one starts in libFuzzer.
            let _pipe = signal(SignalKind::pipe()).unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            http::serve(vec![listener], app, std::future::pending()).await;
        });
    };
    thread::Builder::new().name(THREAD.to_owned()).spawn(serve).unwrap();
    told.recv().unwrap()
}

static PANICS: AtomicUsize = AtomicUsize::new(0);
/// The threads of the servers, and no others.
const THREAD: &str = "fuzzed server";
/// The thread that an exporter probes on.
const PROBES: &str = "probes";
const COMPRESSED: &[u8] = b"content-encoding: gzip";
/// The request after which the server hangs up.
const LAST: &[u8] = b"GET /-/healthy HTTP/1.1\r\nHost: exporter\r\nConnection: close\r\n\r\n";
const CONFIG: &str = "
probe: { interval: 24h, survey_interval: 0s }
targets: [{ name: 'desk 1/2', address: '127.0.0.1:1', labels: { site: oslo } }]
";
/// "open sesame", as cheap as bcrypt can be.
const PASSWORD: &str = "basic_auth_users: { ali: '$2b$04$NFYXigmYjSitZCAUBmbejOWjgg43L.7R6W9uP7k9/1iDYkYsqnnY6' }";
/// Hyper's own among them.
const STATUSES: [&str; 15] =
    ["200", "302", "303", "400", "401", "403", "404", "405", "413", "414", "429", "431", "500", "503", "505"];
/// A server that has heard everything and says nothing for so long waits for more.
const PATIENCE: Duration = Duration::from_secs(1);
const MAX_LENGTH: usize = 8 << 20;
