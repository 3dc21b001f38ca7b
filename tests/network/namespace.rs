//! Three hosts in a row, each a network namespace without a name: exporter – router – host.
//! INVARIANT: a namespace lives as long as its descriptor here and the processes in it, so nothing is left behind.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::process::{Stdio, id};
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::harness::process::{command, leave_out, lossy, require, run, wait_until};

/// What stands between the exporter and a host.
///
/// INVARIANT: the thread that made it stands in the host's namespace until this is dropped. So every server that the
/// test starts is on the host, and [`Namespace::enter`] is for the two others.
pub(crate) struct Network {
    pub(crate) exporter: Namespace,
    pub(crate) router: Namespace,
    pub(crate) host: Namespace,
    home: File,
}

impl Network {
    /// Ready for use: every packet of both families goes through. None where this machine cannot have it.
    pub(crate) fn new(programs: &[&str]) -> Option<Self> {
        if !require(&[&["ip", "nft", "unshare", "setpriv"], programs].concat()) {
            return None;
        }
        let home = File::open("/proc/thread-self/ns/net").unwrap();
        // Who cannot come back must not leave.
        let can_return = move_into_link_name_space(home.as_fd(), Some(LinkNameSpaceType::Network));
        let made = can_return.map_err(|error| error.to_string()).and_then(|()| {
            let namespace = Namespace::new;
            Ok((namespace()?, namespace()?, namespace()?))
        });
        let (exporter, router, host) = match made {
            Ok(made) => made,
            Err(why) => {
                leave_out(&format!("no namespaces: {why}"), "run as root, or in unshare --map-root-user --net");
                return None;
            }
        };
        let network = Self { exporter, router, host, home };
        network.lay_cables();
        move_to(&network.host.0);
        network.wait_until_passable();
        Some(network)
    }

    /// Whoever connects to port 3389 of the host gets to this port of its loopback, where the servers listen.
    pub(crate) fn publish(&self, port: u16) {
        self.host.nft(&format!(
            "table inet published; delete table inet published; table inet published {{ chain published {{
                type nat hook prerouting priority dstnat;
                meta nfproto ipv4 tcp dport {RDP} dnat ip to 127.0.0.1:{port}
            }}; }}"
        ));
    }

    /// Lets the exporter's first IPv6 packet after a flush of its neighbours wait a moment on its way. The cables have no
    /// length: what comes back while connect is still at work would find the socket busy and be dropped.
    pub(crate) fn delay_neighbours(&self) {
        self.router.ip("-6 address del 2001:db8:1::1/64 dev west");
        self.router.ip("-6 route add 2001:db8:1::/64 dev west");
        self.router.ip("-6 neighbour add proxy 2001:db8:1::1 dev west");
        self.router.set("ipv6/conf/west/proxy_ndp", "1");
        self.router.set("ipv6/neigh/west/proxy_delay", "20");
    }

    fn lay_cables(&self) {
        for (end, near, far, subnet) in [(&self.exporter, "wire", "west", 1), (&self.host, "wire", "east", 2)] {
            let router = format!("/proc/{}/fd/{}", id(), self.router.0.as_raw_fd());
            end.ip(&format!("link add {near} type veth peer name {far} netns {router}"));
            for (namespace, link, number) in [(end, near, 2), (&self.router, far, 1)] {
                // Segments as they would be on a wire, not in heaps.
                namespace.ip(&format!("link set {link} gso_max_segs 1 up"));
                namespace.ip(&format!("address add 10.{subnet}.0.{number}/24 dev {link}"));
                namespace.ip(&format!("-6 address add 2001:db8:{subnet}::{number}/64 dev {link} nodad"));
            }
            end.ip(&format!("route add default via 10.{subnet}.0.1"));
            end.ip(&format!("-6 route add default via 2001:db8:{subnet}::1"));
        }
        self.router.set("ipv4/ip_forward", "1");
        self.router.set("ipv6/conf/all/forwarding", "1");
        // Else every second error to one address is left unsaid.
        self.router.set("ipv4/icmp_ratelimit", "0");
        self.router.set("ipv6/icmp/ratelimit", "0");
        self.host.set("ipv4/conf/all/route_localnet", "1");
    }

    /// Until both families pass the router: links and neighbours take a moment.
    fn wait_until_passable(&self) {
        for ip in [IpAddr::from(HOST), IpAddr::from(HOST_V6)] {
            let attempt = || {
                let connected = TcpStream::connect_timeout(&SocketAddr::new(ip, RDP), Duration::from_millis(500));
                connected.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused).then_some(())
            };
            self.exporter.enter(|| wait_until(&format!("way to {ip}"), Duration::from_secs(30), attempt));
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        move_to(&self.home);
    }
}

/// One host of the network.
pub(crate) struct Namespace(File);

impl Namespace {
    fn new() -> Result<Self, String> {
        let mut unshare = command("unshare");
        unshare.args(["--net", "sh", "-c", "echo ready && read -r _"]);
        unshare.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = unshare.spawn().unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        // Held open, it outlives the process that it was made with.
        let namespace = File::open(format!("/proc/{}/ns/net", child.id()));
        let output = child.wait_with_output().unwrap();
        if said.trim() != "ready" {
            return Err(lossy(&output.stderr).trim().to_owned());
        }
        let made = Self(namespace.map_err(|error| error.to_string())?);
        for defaults in ["all", "default"] {
            made.set(&format!("ipv4/conf/{defaults}/rp_filter"), "0");
            made.set(&format!("ipv6/conf/{defaults}/disable_ipv6"), "0");
            made.set(&format!("ipv6/conf/{defaults}/accept_dad"), "0");
        }
        made.ip("link set lo up");
        Ok(made)
    }

    /// Does `work` with the calling thread in this namespace; what is started and bound there stays there.
    pub(crate) fn enter<T>(&self, work: impl FnOnce() -> T) -> T {
        struct Return(File);
        impl Drop for Return {
            fn drop(&mut self) {
                move_to(&self.0);
            }
        }
        let _return = Return(File::open("/proc/thread-self/ns/net").unwrap());
        move_to(&self.0);
        work()
    }

    /// `ip` with these words.
    pub(crate) fn ip(&self, words: &str) {
        self.enter(|| run(command("ip").args(words.split(' '))));
    }

    /// A key of /proc/sys/net, which shows those of the namespace one stands in.
    pub(crate) fn set(&self, key: &str, value: &str) {
        let file = format!("/proc/sys/net/{key}");
        self.enter(|| fs::write(&file, value).unwrap_or_else(|error| panic!("{file}: {error}")));
    }

    /// Lets these rules, and no others, hold where packets are taken in (`input`), passed on (`forward`) or sent
    /// (`output`).
    pub(crate) fn filter(&self, hook: &str, rules: &[&str]) {
        let rules = rules.join("\n");
        self.nft(&format!(
            "table inet rules; delete table inet rules; table inet rules {{ chain rules {{
                type filter hook {hook} priority 0;
                {rules}
            }}; }}"
        ));
    }

    fn nft(&self, text: &str) {
        let mut nft = command("nft");
        nft.args(["-f", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.enter(|| nft.spawn().unwrap());
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{text}\n{}", lossy(&output.stderr));
    }
}

fn move_to(namespace: &File) {
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
}

pub(crate) const EXPORTER: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 2);
pub(crate) const HOST: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 2);
pub(crate) const HOST_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 2);
/// What every server is asked on.
pub(crate) const RDP: u16 = 3389;
