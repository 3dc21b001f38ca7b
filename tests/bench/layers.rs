//! What each layer of the exporter adds to a probe: the runtime, the probe itself, what is remembered and judged, the schedule.
//! Each runs side by side with the floor on one processor, as the whole exporter does in `cost`.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    process::Stdio,
    sync::Arc,
    thread,
    time::{Duration, SystemTime},
};

use rdp_exporter::{
    certificate::trust::Roots,
    config::Config,
    laboratory::{Laboratory, Terms},
    probe::{Approach, Companions, Prober, Question},
    schedule::{self, Order},
    state::Vitals,
    target::{Address, Reach, Settings, Target},
};
use rustls::{ClientConfig, ClientConnection, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    runtime,
    sync::mpsc,
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::{
    cost::{MEASURED, OTHERS, RATE, beside_floor},
    estate::{Estate, pinned},
    floor,
    goals::Goals,
    usage::median,
};

const TARGETS: usize = 2000;
const ROUNDS: usize = 3;
/// For how long each is measured, in seconds.
const SECONDS: f64 = 40.0;
/// Until every target was probed once.
const WARM_UP: f64 = TARGETS as f64 / RATE * 1.2;
/// How long it runs: until after it was measured.
const ALL_SECONDS: f64 = WARM_UP + SECONDS + 10.0;
const TIMEOUT: Duration = Duration::from_secs(5);

/// From the lowest to the highest, each with all below it.
const LAYERS: [(&str, &str); 4] = [
    ("runtime", "the floor's own steps on tokio"),
    ("prober", "one probe after another"),
    ("laboratory", "the same, remembered and judged"),
    ("schedule", "the same, when each is due"),
];

pub(crate) fn measure(_: &mut Goals) {
    let estate = Estate::start(&["tls"], 16, OTHERS);
    println!(
        "processor time of a probe / floor, side by side on one processor; median of {ROUNDS} rounds (all of them)"
    );
    let mut rows = LAYERS.map(|_| Vec::new());
    for _ in 0..ROUNDS {
        for ((layer, _), row) in LAYERS.iter().zip(&mut rows) {
            row.push(side_by_side(&estate, layer));
        }
    }
    for ((layer, what), row) in LAYERS.iter().zip(rows) {
        println!("  {layer:<12} {:.3}  {row:.3?}  {what}", median(&row));
    }
}

fn side_by_side(estate: &Estate, layer: &str) -> f64 {
    let mut command = pinned(MEASURED, &std::env::current_exe().unwrap().display().to_string());
    command.args(["as-layer", layer]).args(estate.of("tls").iter().map(ToString::to_string)).stdout(Stdio::null());
    let mut process = command.spawn().unwrap();
    thread::sleep(Duration::from_secs_f64(WARM_UP));
    let begun = Instant::now();
    let ratio = beside_floor(estate, process.id(), SECONDS, || RATE * begun.elapsed().as_secs_f64());
    assert!(process.wait().unwrap().success());
    ratio
}

/// Probes these addresses by that layer and all below it: `LAYER ADDRESS…`.
pub(crate) fn run(arguments: &[String]) {
    let (layer, addresses) = arguments.split_first().unwrap();
    let addresses: Vec<SocketAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
    let targets = targets(&addresses);
    runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        match layer.as_str() {
            "runtime" => on_the_runtime(&addresses).await,
            "prober" => by_the_prober(&targets).await,
            "laboratory" => in_the_laboratory(&targets).await,
            "schedule" => on_schedule(targets).await,
            other => panic!("no layer is called {other}"),
        }
    });
}

fn targets(addresses: &[SocketAddr]) -> Vec<Arc<Target>> {
    let interval = Duration::from_secs_f64(TARGETS as f64 / RATE);
    let config = Config::without_file();
    let built_in = Settings::clone(config.module("default").unwrap());
    let settings = Arc::new(Settings { interval, timeout: TIMEOUT, survey_interval: Duration::ZERO, ..built_in });
    let target = |number: usize| {
        let address: Address = addresses[number % addresses.len()].to_string().parse().unwrap();
        let settings = Arc::clone(&settings);
        Arc::new(Target {
            name: format!("t{number:05}"),
            address,
            labels: BTreeMap::new(),
            server_name: None,
            settings,
        })
    };
    (0..TARGETS).map(target).collect()
}

/// Waits for the time of each probe, and gives its number then.
struct Pace {
    begun: Instant,
    number: u32,
}

impl Pace {
    fn begin() -> Self {
        Self { begun: Instant::now(), number: 0 }
    }

    async fn next(&mut self) -> Option<usize> {
        let due = self.begun + Duration::from_secs_f64(f64::from(self.number) / RATE);
        sleep_until(due).await;
        self.number += 1;
        (f64::from(self.number) <= RATE * ALL_SECONDS).then_some(self.number as usize)
    }
}

async fn on_the_runtime(addresses: &[SocketAddr]) {
    let (request, config, mut pace) = (floor::request(), Arc::new(floor::config()), Pace::begin());
    while let Some(number) = pace.next().await {
        let probe = probe(addresses[number % addresses.len()], &request, &config);
        timeout(TIMEOUT, probe).await.unwrap().unwrap();
    }
}

/// What the floor does, step by step.
async fn probe(address: SocketAddr, request: &[u8], config: &Arc<ClientConfig>) -> io::Result<()> {
    let mut tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    tcp.write_all(request).await?;
    let mut confirm = [0; 19];
    tcp.read_exact(&mut confirm).await?;
    let name = ServerName::IpAddress(address.ip().into());
    let mut tls = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
    let mut room = [0; 4096];
    loop {
        say(&mut tls, &mut tcp).await?;
        if !tls.is_handshaking() {
            break;
        }
        let count = tcp.read(&mut room).await?;
        let mut bytes = &room[..count];
        while !bytes.is_empty() {
            tls.read_tls(&mut bytes)?;
            tls.process_new_packets().map_err(io::Error::other)?;
        }
    }
    tls.send_close_notify();
    say(&mut tls, &mut tcp).await?;
    tcp.shutdown().await?;
    while tcp.read(&mut room).await? > 0 {}
    Ok(())
}

async fn say(tls: &mut ClientConnection, tcp: &mut TcpStream) -> io::Result<()> {
    let mut bytes = Vec::new();
    while tls.wants_write() {
        tls.write_tls(&mut bytes)?;
    }
    tcp.write_all(&bytes).await
}

async fn by_the_prober(targets: &[Arc<Target>]) {
    let (reach, companions) = (Reach::Anywhere, Companions::WhenDue);
    let approach = Approach { question: Question::ORDINARY, explain: true, reach, companions };
    let (prober, mut pace) = (Prober::new(), Pace::begin());
    while let Some(number) = pace.next().await {
        let seen = prober.run(&targets[number % targets.len()], &approach).await;
        assert_eq!(seen.stop(), None);
    }
}

async fn in_the_laboratory(targets: &[Arc<Target>]) {
    let (laboratory, mut pace) = (laboratory(), Pace::begin());
    laboratory.states.replace(targets);
    while let Some(number) = pace.next().await {
        let probed = laboratory.probe(&targets[number % targets.len()].name, Terms::ORDINARY).await;
        assert_eq!(probed.unwrap().changed_from, None);
    }
}

async fn on_schedule(targets: Vec<Arc<Target>>) {
    let laboratory = laboratory();
    laboratory.states.replace(&targets);
    let (orders, received) = mpsc::unbounded_channel();
    let schedule = tokio::spawn(schedule::run(laboratory, orders.downgrade(), received));
    orders.send(Order::Replace(targets)).unwrap();
    sleep(Duration::from_secs_f64(ALL_SECONDS)).await;
    orders.send(Order::Stop).unwrap();
    schedule.await.unwrap();
}

fn laboratory() -> Arc<Laboratory> {
    Arc::new(Laboratory::new(Arc::new(Roots::new(Vec::new(), Vec::new())), Vitals::new(SystemTime::now())))
}
