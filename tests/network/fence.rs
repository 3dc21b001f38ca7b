//! `/probe` where a name leads, by a resolver whose answers are the test's: it may not lead anywhere else.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

use crate::harness::exporter::serve_where;
use crate::harness::http;
use crate::harness::openssl::{Recipe, Workshop};
use crate::harness::peer::{Peer, answer_tls_only};
use crate::harness::process::Server;
use crate::namespace::{HOST, Network, RDP};
use crate::probing::tls_server;

/// A name, and its addresses at the first question, at the second and so on; the last ones stay.
type Name = (&'static str, &'static [&'static [&'static str]]);

/// Answers on the host with a TTL of zero. No real server changes its answers when a test wants it.
struct Resolver {
    /// Each question for IPv4 addresses.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Resolver {
    fn start(names: &'static [Name]) -> Self {
        let socket = UdpSocket::bind((HOST, 53)).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&asked);
        thread::spawn(move || {
            let mut question = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut question) {
                let Some(answer) = answer(names, &list, &question[..length]) else { return };
                socket.send_to(&answer, from).unwrap();
            }
        });
        Self { asked }
    }

    /// How often the addresses of a name were asked for.
    fn asked(&self, name: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| *asked == name).count()
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        // An empty question ends the thread.
        let _ = UdpSocket::bind((HOST, 0)).unwrap().send_to(&[], (HOST, 53));
    }
}

/// The answer to one question (RFC 1035, 4.1); none to what is no question.
fn answer(names: &[Name], asked: &Mutex<Vec<String>>, question: &[u8]) -> Option<Vec<u8>> {
    let (mut name, mut rest) = (String::new(), question.get(12..)?);
    while let Some((&length, after)) = rest.split_first().filter(|(length, _)| **length > 0) {
        let label = std::str::from_utf8(after.get(..usize::from(length))?).ok()?;
        name = if name.is_empty() { label.to_owned() } else { format!("{name}.{label}") }.to_lowercase();
        rest = &after[usize::from(length)..];
    }
    let kind = *rest.get(2)?;
    let end = question.len() - rest.len() + 5;
    let mut asked = asked.lock().unwrap();
    let before = asked.iter().filter(|asked| **asked == name).count();
    if kind == 1 {
        asked.push(name.clone());
    }
    let answers = names.iter().find(|(known, _)| *known == name).map(|(_, answers)| *answers);
    // Both families belong to one look-up, and the question for IPv4 comes first.
    let turn = if kind == 1 { before } else { before.saturating_sub(1) };
    let addresses = answers.map_or(&[][..], |answers| answers[turn.min(answers.len() - 1)]);
    let mut records = Vec::new();
    for address in addresses {
        let data = match (address.parse().unwrap(), kind) {
            (IpAddr::V4(v4), 1) => v4.octets().to_vec(),
            (IpAddr::V6(v6), 28) => v6.octets().to_vec(),
            _ => continue,
        };
        let length = u8::try_from(data.len()).unwrap();
        records.push([&[0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 0, 0, length], data.as_slice()].concat());
    }
    let count = u8::try_from(records.len()).unwrap();
    let code = if answers.is_some() { 0x80 } else { 0x83 };
    let head = [&question[..2], &[0x85, code, 0, 1, 0, count, 0, 0, 0, 0]].concat();
    Some([head, question[12..end].to_vec(), records.concat()].concat())
}

/// A serving exporter that asks this resolver, and no file.
fn serve(network: &Network, config: &Value) -> Server {
    let files = [
        ("/etc/resolv.conf", format!("nameserver {HOST}\n")),
        ("/etc/nsswitch.conf", "hosts: files dns\n".to_owned()),
        ("/etc/hosts", "127.0.0.1 localhost\n".to_owned()),
    ];
    network.exporter.enter(|| serve_where(config, &files))
}

/// Status and text of `/probe` with this query.
fn probe(network: &Network, exporter: &Server, query: &str) -> (u16, String) {
    network.exporter.enter(|| http::get(exporter.port, &format!("/probe?{query}")).unwrap())
}

/// Answers whatever connects, on the exporter's own addresses.
fn trap(network: &Network) -> Peer {
    for address in FORBIDDEN {
        network.exporter.ip(&format!("address add {address} dev lo"));
    }
    network.exporter.enter(|| Peer::at((Ipv6Addr::UNSPECIFIED, RDP).into(), |_| Ok(())))
}

#[test]
fn no_way_leads_to_a_forbidden_address() {
    let Some(network) = Network::new(&["openssl"]) else { return };
    network.host.ip("address add 10.2.0.3/24 dev wire");
    let workshop = Workshop::new();
    let allowed = tls_server((HOST, RDP).into(), &workshop.self_signed(&Recipe::default()));
    let outside = Peer::at(([10, 2, 0, 3], RDP).into(), |_| Ok(()));
    let trap = trap(&network);
    let _resolver = Resolver::start(NAMES);
    let names = json!({ "probe_endpoint": { "allow": ["*.corp.example"] } });
    let both = json!({ "probe_endpoint": { "allow": ["10.2.0.2/32", "*.corp.example"] } });
    let (names, both) = (serve(&network, &names), serve(&network, &both));
    let nothing = serve(&network, &json!({}));
    for (target, by_name, by_both) in [
        ("ts01.corp.example", 200, 200),
        ("TS01.Corp.Example.:3389", 200, 200),
        ("ts01.corp.example:3390", 403, 403),
        ("ts01.corp.example:0", 400, 400),
        ("ts01.corp.example:65536", 400, 400),
        ("ts01.corp.example..", 400, 400),
        ("ts01.corp.example%00.evil.example", 400, 400),
        ("user@ts01.corp.example", 400, 400),
        ("http://ts01.corp.example", 400, 400),
        ("loopback.corp.example", 403, 403),
        ("LOOPBACK.corp.example.", 403, 403),
        ("loopback6.corp.example", 403, 403),
        ("mapped.corp.example", 403, 403),
        ("translated.corp.example", 403, 403),
        ("metadata.corp.example", 403, 403),
        ("metadata6.corp.example", 403, 403),
        ("unspecified.corp.example", 403, 403),
        ("two.corp.example", 403, 403),
        ("families.corp.example", 403, 403),
        // Only where a network is listed it must be in one.
        ("outside.corp.example", 200, 403),
        // In a listed network, by another name than the listed ones.
        ("ts01.evil.example", 403, 200),
        ("loopback.evil.example", 403, 403),
        ("localhost", 403, 403),
        ("localhost.", 403, 403),
        ("10.2.0.2", 403, 200),
        ("10.2.0.3", 403, 403),
        ("[::ffff:10.2.0.2]", 403, 200),
        ("[::ffff:10.2.0.3]", 403, 403),
        ("127.0.0.1", 403, 403),
        ("169.254.169.254", 403, 403),
        ("[fd00:ec2::254]", 403, 403),
        ("[64:ff9b::7f00:1]", 403, 403),
    ] {
        for (which, exporter, expected) in [("names", &names, by_name), ("both", &both, by_both)] {
            for more in ["", "&survey=true"] {
                let (status, text) = probe(&network, exporter, &format!("target={target}{more}"));
                assert_eq!(status, expected, "{which}: {target}{more}: {text}");
            }
        }
        let expected = if by_both == 400 { 400 } else { 403 };
        let (status, text) = probe(&network, &nothing, &format!("target={target}"));
        assert_eq!(status, expected, "nothing is allowed: {target}: {text}");
    }
    assert!(allowed.taken() > 0, "what is allowed was connected to");
    assert_eq!(outside.accepted(), 2, "by its name only, with and without a survey");
    network.exporter.enter(|| {
        assert_eq!(trap.accepted(), 0, "no forbidden address was connected to");
        for address in FORBIDDEN {
            let ip: IpAddr = address.split('/').next().unwrap().parse().unwrap();
            TcpStream::connect((ip, RDP)).unwrap_or_else(|error| panic!("nobody could be caught at {ip}: {error}"));
        }
        drop(trap);
    });
}

/// Rebinding: the first answer is allowed, every later one is not.
#[test]
fn a_name_is_looked_up_once_for_all_connections_of_a_probe() {
    let Some(network) = Network::new(&["openssl"]) else { return };
    for number in [3, 4, 5] {
        network.host.ip(&format!("address add 10.2.0.{number}/24 dev wire"));
    }
    let at = |number| SocketAddr::from(([10, 2, 0, number], RDP));
    let workshop = Workshop::new();
    let certificate = workshop.self_signed(&Recipe::default());
    let (first, second) = (tls_server(at(2), &certificate), tls_server(at(4), &certificate));
    // Ends what our TLS library begins, so that the hello made by hand follows, and the ordinary one to explain it.
    let abrupt = Peer::at(at(5), |mut client| answer_tls_only(&mut client).map(drop));
    let forbidden = Peer::at(at(3), |_| Ok(()));
    let trap = trap(&network);
    let resolver = Resolver::start(NAMES);
    let allow = json!({ "probe_endpoint": { "allow": ["10.2.0.2/32", "10.2.0.4/32", "10.2.0.5/32"] } });
    let exporter = serve(&network, &allow);
    for (name, peers) in [
        ("survey.corp.example", &[&first][..]),
        ("further.corp.example", &[&first, &second]),
        ("retry.corp.example", &[&abrupt]),
        ("home.corp.example", &[&first]),
    ] {
        let before: Vec<_> = peers.iter().map(|peer| peer.taken()).collect();
        let (status, text) = probe(&network, &exporter, &format!("target={name}&survey=true"));
        assert_eq!(status, 200, "{name}: {text}");
        let connections: Vec<_> = peers.iter().zip(before).map(|(peer, before)| peer.taken() - before).collect();
        assert!(connections[0] > 1, "{name}: there was more than one connection: {connections:?}");
        assert!(connections.iter().all(|connections| *connections > 0), "{name}: {connections:?}");
        assert_eq!(resolver.asked(name), 1, "{name} was looked up once");
        let (status, text) = probe(&network, &exporter, &format!("target={name}&survey=true"));
        assert_eq!(status, 403, "{name} leads elsewhere by now: {text}");
        assert_eq!(resolver.asked(name), 2, "{name}");
    }
    assert_eq!(forbidden.accepted(), 0, "nobody connected to the address of the later answers");
    network.exporter.enter(|| {
        assert_eq!(trap.accepted(), 0, "nor to the exporter itself");
        drop(trap);
    });
}

const NAMES: &[Name] = &[
    ("localhost", &[&["127.0.0.1"]]),
    ("ts01.corp.example", &[&["10.2.0.2"]]),
    ("ts01.evil.example", &[&["10.2.0.2"]]),
    ("outside.corp.example", &[&["10.2.0.3"]]),
    ("loopback.corp.example", &[&["127.0.0.1"]]),
    ("loopback.evil.example", &[&["127.0.0.1"]]),
    ("loopback6.corp.example", &[&["::1"]]),
    ("mapped.corp.example", &[&["::ffff:127.0.0.1"]]),
    ("translated.corp.example", &[&["64:ff9b::7f00:1"]]),
    ("metadata.corp.example", &[&["169.254.169.254"]]),
    ("metadata6.corp.example", &[&["fd00:ec2::254"]]),
    ("unspecified.corp.example", &[&["0.0.0.0"]]),
    ("two.corp.example", &[&["10.2.0.2", "127.0.0.1"]]),
    ("families.corp.example", &[&["10.2.0.2", "fd00:ec2::254"]]),
    ("survey.corp.example", &[&["10.2.0.2"], &["10.2.0.3"]]),
    ("further.corp.example", &[&["10.2.0.2", "10.2.0.4"], &["10.2.0.2", "10.2.0.3"]]),
    ("retry.corp.example", &[&["10.2.0.5"], &["10.2.0.3"]]),
    ("home.corp.example", &[&["10.2.0.2"], &["127.0.0.1"]]),
];

/// What the exporter's own host has beside its loopback addresses, so that whoever goes there is seen.
const FORBIDDEN: [&str; 3] = ["169.254.169.254/32", "fd00:ec2::254/128", "64:ff9b::7f00:1/128"];
