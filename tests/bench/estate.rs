//! What is probed: endpoints in a process of their own, on loopback.

use std::{
    collections::BTreeMap,
    io::{self, Read as _},
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use rustix::thread::{CpuSet, sched_setaffinity};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

use crate::{
    endpoint::{Authority, Behaviour, Certificate, Endpoint},
    harness::{
        peer::CONFIRM_SSL,
        process::{Process, directory, free_port},
    },
};

/// The endpoints, as the other processes know them.
pub(crate) struct Estate {
    _process: Process,
    addresses: BTreeMap<String, Vec<SocketAddr>>,
}

impl Estate {
    /// Starts `count` endpoints of each kind, on the processor of that number.
    pub(crate) fn start(kinds: &[&str], count: usize, processor: usize) -> Self {
        let mut command = pinned(processor, &std::env::current_exe().unwrap().display().to_string());
        command.arg("as-estate").arg(count.to_string()).args(kinds.iter().filter(|kind| **kind != "closed"));
        let mut process = Process::start("estate", &command, directory());
        let log = process.log_file();
        let text = process
            .wait_until("endpoints", || std::fs::read_to_string(&log).ok().filter(|text| text.ends_with("ready\n")));
        let mut addresses: BTreeMap<String, Vec<SocketAddr>> = BTreeMap::new();
        for (kind, address) in text.lines().filter_map(|line| line.split_once(' ')) {
            addresses.entry(kind.to_owned()).or_default().push(address.parse().unwrap());
        }
        if kinds.contains(&"closed") {
            // Of ports that no outgoing connection takes: it would meet itself there.
            let closed = (0..count).map(|_| SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())));
            addresses.insert("closed".to_owned(), closed.collect());
        }
        Self { _process: process, addresses }
    }

    /// The endpoints of that kind.
    pub(crate) fn of(&self, kind: &str) -> &[SocketAddr] {
        &self.addresses[kind]
    }
}

/// A command that stays on one processor.
pub(crate) fn pinned(processor: usize, program: &str) -> std::process::Command {
    let mut command = crate::harness::process::command("taskset");
    command.args(["--cpu-list", &processor.to_string(), program]);
    command
}

/// Keeps the calling thread on one processor.
pub(crate) fn stay_on(processor: usize) {
    let mut processors = CpuSet::new();
    processors.set(processor);
    sched_setaffinity(None, &processors).unwrap();
}

/// As the process of the endpoints: `COUNT KIND…`, until standard input ends.
pub(crate) fn run(arguments: &[String]) {
    let count: usize = arguments[0].parse().unwrap();
    let kinds = arguments[1..].to_vec();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(serve(&kinds, count)).unwrap();
    });
    let _ = io::stdin().read_to_end(&mut Vec::new());
}

async fn serve(kinds: &[String], count: usize) -> io::Result<()> {
    let authority = Authority::new();
    for kind in kinds {
        for number in 0..count {
            let address = start(kind, number, &authority).await?;
            println!("{kind} {address}");
        }
    }
    println!("ready");
    std::future::pending().await
}

async fn start(kind: &str, number: usize, authority: &Authority) -> io::Result<SocketAddr> {
    let certificate = Certificate::issued(180);
    let behaviour = match kind {
        "cut" => Behaviour::CutInTls,
        "legacy" => Behaviour::Legacy(certificate),
        "nla" => Behaviour::Nla(certificate),
        "no_certificate" => Behaviour::NoCertificate,
        "silent" => Behaviour::Silent,
        "slow" => Behaviour::Slow(certificate, Duration::from_millis(100)),
        "standard" => Behaviour::StandardOnly(certificate),
        "tls" => Behaviour::TlsOnly(certificate),
        "plain_tls" => {
            let acceptor = authority.acceptor(certificate, "plain");
            return listen(move |tcp| plain_tls(tcp, acceptor.clone())).await;
        }
        "alert" => return listen(|tcp| say(tcp, &[&CONFIRM_SSL, &[0x15, 3, 3, 0, 2, 2, 40]])).await,
        "stalls" => return listen(|tcp| stall(tcp, &CONFIRM_SSL)).await,
        "hangs_up" => return listen(|tcp| say(tcp, &[b""])).await,
        "http" => return listen(|tcp| say(tcp, &[b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"])).await,
        "wrong_length" => return listen(|tcp| say(tcp, &[&[3, 0, 0, 6, 0xFF, 0xFF]])).await,
        kind => panic!("no endpoint is of kind {kind}"),
    };
    let name: &'static str = Box::leak(format!("{kind}{number}").into_boxed_str());
    Endpoint::new(behaviour, name, authority).start().await
}

/// An endpoint that serves each connection so.
async fn listen<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> io::Result<SocketAddr>
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            tokio::spawn(serve(tcp));
        }
    });
    Ok(address)
}

/// Says these bytes to the first ones that it gets, and nothing any more.
async fn stall(mut tcp: TcpStream, confirm: &[u8]) -> io::Result<()> {
    let mut request = [0; 1024];
    if tcp.read(&mut request).await? > 0 {
        tcp.write_all(confirm).await?;
    }
    while tcp.read(&mut request).await? > 0 {}
    Ok(())
}

/// Speaks TLS and nothing else, for those who know no RDP.
async fn plain_tls(tcp: TcpStream, acceptor: TlsAcceptor) -> io::Result<()> {
    let mut stream = acceptor.accept(tcp).await?;
    while stream.read(&mut [0; 1024]).await? > 0 {}
    stream.shutdown().await
}

/// Says these bytes, each to the next ones that it gets, and hangs up.
async fn say(mut tcp: TcpStream, answers: &[&[u8]]) -> io::Result<()> {
    let mut request = [0; 1024];
    for answer in answers {
        if tcp.read(&mut request).await? == 0 {
            break;
        }
        tcp.write_all(answer).await?;
    }
    tcp.shutdown().await?;
    while tcp.read(&mut request).await? > 0 {}
    Ok(())
}
