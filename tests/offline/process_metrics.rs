//! The families of the exporter's own process, against what other ways of asking the system say of it.

#![cfg(target_os = "linux")]

use std::{
    fs::{self, File},
    hint::black_box,
    process::Command,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use prometheus::proto::{MetricFamily, MetricType};
use rdp_exporter::{metrics, state::Vitals};
use rustix::process::{Resource, getrlimit};

#[test]
fn they_are_what_every_exporter_has() {
    let families = families();
    let found: Vec<_> = families.iter().map(|family| (family.name(), family.get_field_type())).collect();
    for (name, kind) in [
        ("process_cpu_seconds_total", MetricType::COUNTER),
        ("process_max_fds", MetricType::GAUGE),
        ("process_open_fds", MetricType::GAUGE),
        ("process_resident_memory_bytes", MetricType::GAUGE),
        ("process_start_time_seconds", MetricType::GAUGE),
        ("process_threads", MetricType::GAUGE),
        ("process_virtual_memory_bytes", MetricType::GAUGE),
    ] {
        assert!(found.contains(&(name, kind)), "{name} among {found:?}");
    }
    assert_eq!(found.len(), 7, "{found:?}");
}

/// /proc/self/status is another file than the one that is read, in other units. Other tests run in this process.
#[test]
fn memory_and_threads_are_those_of_the_status() {
    let within = |name: &str, line: &str, unit: f64| {
        let (found, told) = (value(name), told(line) * unit);
        assert!(found > told / 2.0 && found < told * 2.0, "{name}: {found}, {line}: {told}");
    };
    within("process_virtual_memory_bytes", "VmSize:", 1024.0);
    within("process_resident_memory_bytes", "VmRSS:", 1024.0);
    assert!(value("process_threads") >= 2.0, "this one and the first");
}

fn told(line: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let told = status.lines().find_map(|other| other.strip_prefix(line)).unwrap();
    told.split_ascii_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn descriptors_are_counted() {
    let held: Vec<File> = (0..400).map(|_| File::open("/dev/null").unwrap()).collect();
    let with = value("process_open_fds");
    assert!(with >= 400.0, "{with}");
    drop(held);
    let without = value("process_open_fds");
    assert!(without >= 3.0 && without < with, "{without}, {with} with 400 more");
    assert_eq!(Some(value("process_max_fds") as u64), getrlimit(Resource::Nofile).current);
}

/// ps knows how long a process runs. It rounds to seconds.
#[test]
fn the_start_is_the_one_that_ps_knows() {
    let ps = Command::new("ps").args(["-o", "etimes=", "-p", &std::process::id().to_string()]).output();
    let runs: f64 = String::from_utf8(ps.unwrap().stdout).unwrap().trim().parse().unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let started = value("process_start_time_seconds");
    assert!((now - runs - started).abs() < 5.0, "{started}, and ps says {}", now - runs);
}

#[test]
fn processor_time_is_counted_in_parts_of_a_second() {
    let before = value("process_cpu_seconds_total");
    let (begin, mut after) = (Instant::now(), before);
    while after < before + 0.05 {
        black_box((0..100_000_u64).sum::<u64>());
        after = value("process_cpu_seconds_total");
        assert!(begin.elapsed() < Duration::from_secs(60), "{before} to {after}");
    }
    // All that can have been used since by all cores.
    let cores = std::thread::available_parallelism().unwrap().get() as f64;
    assert!(after - before <= begin.elapsed().as_secs_f64() * cores + 0.1, "{before} to {after}");
}

fn value(name: &str) -> f64 {
    let families = families();
    let family = families.iter().find(|family| family.name() == name).unwrap();
    let metric = &family.get_metric()[0];
    match family.get_field_type() {
        MetricType::COUNTER => metric.get_counter().get_value(),
        _ => metric.get_gauge().get_value(),
    }
}

fn families() -> Vec<MetricFamily> {
    let families = metrics::exporter_families(&Vitals::new(SystemTime::now()), 0);
    families.into_iter().filter(|family| family.name().starts_with("process_")).collect()
}
