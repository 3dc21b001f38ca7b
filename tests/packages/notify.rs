//! `Type=notify` of the unit: what the binary tells systemd, and when.

use std::{
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
    process::Command,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::process::{Process, Server, directory, wait_until};

#[test]
fn systemd_is_told_of_start_reload_and_stop() {
    let folder = directory();
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    tells(&manager, path.to_str().unwrap());
}

#[test]
fn a_socket_without_a_file_is_told_as_well() {
    let name = format!("rdp_exporter-test-{}", std::process::id());
    let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    tells(&manager, &format!("@{name}"));
}

#[test]
fn a_manager_that_is_gone_is_no_reason_to_stop() {
    let mut process = Process::start("rdp_exporter", &exporter("/nowhere/notify"), directory());
    let log = process.log_file();
    process.wait_until("a word on it", || {
        let log = std::fs::read_to_string(&log).unwrap();
        log.contains("Cannot tell the service manager").then_some(())
    });
    let server = Server::of(process, 0);
    let pid = Pid::from_raw(server.id().cast_signed()).unwrap();
    rustix::process::test_kill_process(pid).unwrap();
}

/// Starts the exporter and looks at what arrives here, at the address of that name.
fn tells(manager: &UnixDatagram, name: &str) {
    manager.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let process = Process::start("rdp_exporter", &exporter(name), directory());
    let exporter = Server::of(process, 0);
    let signal = |signal| kill_process(Pid::from_raw(exporter.id().cast_signed()).unwrap(), signal).unwrap();
    assert_eq!(told(manager), "READY=1");
    // The log has a thread of its own.
    wait_until("word of it in the log", Duration::from_secs(20), || exporter.log().contains("Listening").then_some(()));
    signal(Signal::HUP);
    assert_eq!(told(manager), "RELOADING=1");
    assert_eq!(told(manager), "READY=1");
    signal(Signal::TERM);
    assert_eq!(told(manager), "STOPPING=1");
}

fn told(manager: &UnixDatagram) -> String {
    let mut buffer = [0; 256];
    let length = manager.recv(&mut buffer).expect("a word within a minute");
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

fn exporter(notify_socket: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rdp_exporter"));
    command.arg("--web.listen-address=127.0.0.1:0").env("NOTIFY_SOCKET", notify_socket);
    command
}
