//! `/metrics`, streamed: one family at a time, through a small buffer, so that no copy of the whole text is alive.

use std::{
    io::{self, BufWriter, Write},
    net::IpAddr,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use flate2::{Compression, write::GzEncoder};
use http_body_util::BodyExt;
use hyper::{
    Response, StatusCode,
    body::{Bytes, Frame},
    header::{CONTENT_ENCODING, CONTENT_TYPE, VARY},
};
use tokio::{
    runtime::Handle,
    sync::mpsc,
    time::{Instant, timeout},
};

use super::{
    answers::{Body, text, wall_clock},
    places::{Limits, Place, Places, Work},
};
use crate::{
    metrics::{self, View},
    service::Service,
    state::{States, TargetState},
    target::Target,
};

/// How a scrape is answered.
#[derive(Debug)]
pub(super) struct Exposition {
    places: Arc<Places>,
    max_requests: usize,
}

impl Exposition {
    /// Answers `max_requests` at once, and half of them to one party; 0: as many as come.
    pub(super) fn new(max_requests: usize) -> Self {
        let all = if max_requests == 0 { usize::MAX } else { max_requests };
        Self { places: Places::new(Limits { all, each: all.div_ceil(2), patience: PATIENCE }), max_requests }
    }

    /// The answer to a scrape. The text is made on a thread that may block, as fast as the scraper reads it.
    pub(super) fn answer(&self, service: &Arc<Service>, scraper: IpAddr, gzip: bool) -> Response<Body> {
        let Some(place) = self.places.try_take(scraper) else {
            let reason = format!("{} scrapes are being answered already, or half of them to you\n", self.max_requests);
            return text(StatusCode::SERVICE_UNAVAILABLE, reason);
        };
        let (sender, parts) = mpsc::channel(1);
        let service = Arc::clone(service);
        let chunks = Chunks::new(sender, Handle::current(), place);
        tokio::task::spawn_blocking(move || {
            let result = if gzip {
                let buffered = BufWriter::with_capacity(CHUNK_BYTES, chunks);
                let mut encoder = BufWriter::with_capacity(CHUNK_BYTES, GzEncoder::new(buffered, Compression::fast()));
                write_all(&service, &mut encoder)
                    .and_then(|()| encoder.into_inner().map_err(io::IntoInnerError::into_error))
                    .and_then(GzEncoder::finish)
            } else {
                let mut buffered = BufWriter::with_capacity(CHUNK_BYTES, chunks);
                write_all(&service, &mut buffered).map(|()| buffered)
            };
            let result = result
                .and_then(|buffered| buffered.into_inner().map_err(io::IntoInnerError::into_error))
                .and_then(Chunks::end);
            if let Err(error) = result {
                tracing::debug!(%error, "A scrape was not read to its end");
            }
        });
        let response =
            Response::builder().header(CONTENT_TYPE, prometheus::TEXT_FORMAT).header(VARY, "accept-encoding");
        let response = if gzip { response.header(CONTENT_ENCODING, "gzip") } else { response };
        response.body(Parts { parts, is_over: false }.boxed()).unwrap_or_default()
    }
}

fn write_all(service: &Service, out: &mut impl Write) -> io::Result<()> {
    let mut known = Known::of(&service.laboratory.states);
    let now: SystemTime = wall_clock();
    let view = View { now, histograms: service.config().exporter.histograms };
    for family in metrics::families() {
        let mut writing = metrics::Writing::of(family, view);
        let mut last = None;
        while let Some(part) = known.after(last.as_deref()) {
            writing.write(part, out)?;
            last = part.last().map(|state| Arc::clone(&state.target));
        }
    }
    let vitals = &service.laboratory.vitals;
    let runtimes = [Handle::current(), service.probes.clone()];
    vitals.tasks.store(runtimes.iter().map(|runtime| runtime.metrics().num_alive_tasks()).sum(), Ordering::Relaxed);
    metrics::exporter_families(vitals, known.held.len()).iter().try_for_each(|family| metrics::encode(family, out))
}

/// What a scrape shows: all targets as they were at one moment, unless the scraper takes its time. To hold on to that
/// moment then would be to hold a copy of all states, as probes replace them meanwhile.
struct Known<'a> {
    states: &'a States,
    held: Vec<Arc<TargetState>>,
    since: Instant,
}

impl<'a> Known<'a> {
    fn of(states: &'a States) -> Self {
        Self { states, held: states.snapshot(), since: Instant::now() }
    }

    /// Some more targets, in the order of their names, from the one after `last` on; `None` after the last one.
    fn after(&mut self, last: Option<&Target>) -> Option<&[Arc<TargetState>]> {
        if self.since.elapsed() > ONE_MOMENT {
            *self = Self::of(self.states);
        }
        let begin = last.map_or(0, |last| self.held.partition_point(|state| state.target.name <= last.name));
        let rest = self.held.get(begin..).filter(|rest| !rest.is_empty())?;
        rest.get(..metrics::PART).or(Some(rest))
    }
}

/// Sends what is written to the scraper, and waits for a slow one, but not for ever, nor where another one has none left.
struct Chunks {
    /// Gone once the scraper is given up.
    sender: Option<mpsc::Sender<Part>>,
    /// Written, and not sent before it is known whether more comes.
    written: Option<Bytes>,
    handle: Handle,
    place: Arc<Place>,
    /// While the text is made, and not while its scraper is waited for.
    work: Option<Work>,
}

/// A part of the text.
struct Part {
    bytes: Bytes,
    is_last: bool,
}

impl Chunks {
    fn new(sender: mpsc::Sender<Part>, handle: Handle, place: Place) -> Self {
        let place = Arc::new(place);
        Self { sender: Some(sender), written: None, handle, work: Some(place.work()), place }
    }

    fn end(mut self) -> io::Result<()> {
        self.send(true)
    }

    /// Sends what was written last.
    fn send(&mut self, is_last: bool) -> io::Result<()> {
        let Some(bytes) = self.written.take() else { return Ok(()) };
        let Some(sender) = self.sender.take() else { return Err(io::ErrorKind::BrokenPipe.into()) };
        self.work = None;
        let sent = self.handle.block_on(async {
            tokio::select! {
                biased;
                () = self.place.lost() => Err(io::Error::other("it made room for another one")),
                sent = timeout(STALL_TIME, sender.send(Part { bytes, is_last })) => match sent {
                    Ok(sent) => sent.map_err(|_| io::ErrorKind::BrokenPipe.into()),
                    Err(_) => Err(io::ErrorKind::TimedOut.into()),
                },
            }
        });
        self.work = Some(self.place.work());
        sent.map(|()| self.sender = Some(sender))
    }
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send(false)?;
        self.written = Some(Bytes::copy_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The text as hyper takes it. It is whole only where its last part was sent: whoever gave up, or panicked, breaks it off.
///
/// Own code, as the channel of `http-body-util` 0.1 loses the last part where that is sent, and the sender dropped, between
/// two looks of it: a scrape then seems to be whole, and lacks its end. And its end is known with its last part, as hyper
/// 1.12 does not close a connection of HTTP/1.0 where a body ends between two looks of it, with nothing left to write.
struct Parts {
    parts: mpsc::Receiver<Part>,
    is_over: bool,
}

impl hyper::body::Body for Parts {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        self.parts.poll_recv(context).map(|part| match part {
            Some(Part { bytes, is_last }) => {
                self.is_over = is_last;
                Some(Ok(Frame::data(bytes)))
            }
            None => Some(Err(io::ErrorKind::BrokenPipe.into())),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.is_over
    }
}

/// As long as a scraper may take to be shown one moment.
const ONE_MOMENT: Duration = Duration::from_secs(5);
const CHUNK_BYTES: usize = 64 * 1024;
/// How long a scraper may read nothing.
const STALL_TIME: Duration = Duration::from_secs(30);
/// The same where others have no place.
const PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::thread;

    use hyper::body::Body as _;
    use tokio::runtime;

    use super::*;

    /// What the other side reads, and whether it is whole.
    async fn read(mut parts: Parts) -> (Vec<u8>, bool) {
        let mut read = Vec::new();
        while let Some(frame) = parts.frame().await {
            match frame {
                Ok(frame) => read.extend_from_slice(&frame.into_data().unwrap()),
                Err(_) => return (read, false),
            }
            // Where it is over nothing but a look tells so: hyper does not look again.
            if parts.is_end_stream() {
                return (read, true);
            }
        }
        panic!("it ended, and did not say so with its last part");
    }

    fn channel() -> (mpsc::Sender<Part>, Parts) {
        let (sender, parts) = mpsc::channel(1);
        (sender, Parts { parts, is_over: false })
    }

    fn part(bytes: &'static [u8], is_last: bool) -> Part {
        Part { bytes: Bytes::from_static(bytes), is_last }
    }

    #[test]
    fn the_last_part_is_never_lost() {
        let runtime = runtime::Builder::new_current_thread().build().unwrap();
        for _ in 0..20_000 {
            let (sender, parts) = channel();
            let sending = thread::spawn(move || {
                sender.blocking_send(part(b"a", false)).unwrap();
                sender.blocking_send(part(b"b", true)).unwrap();
            });
            assert_eq!(runtime.block_on(read(parts)), (b"ab".to_vec(), true));
            sending.join().unwrap();
        }
    }

    #[test]
    fn a_text_that_was_given_up_is_not_whole() {
        let runtime = runtime::Builder::new_current_thread().build().unwrap();
        let (sender, parts) = channel();
        sender.blocking_send(part(b"a", false)).unwrap();
        drop(sender);
        assert_eq!(runtime.block_on(read(parts)), (b"a".to_vec(), false));
    }

    #[test]
    fn what_is_written_last_is_the_last_part() {
        let runtime = runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (sender, parts) = channel();
        let place =
            Places::new(Limits { all: 1, each: 1, patience: PATIENCE }).try_take([192, 0, 2, 1].into()).unwrap();
        let mut chunks = Chunks::new(sender, runtime.handle().clone(), place);
        let writing = thread::spawn(move || {
            chunks.write_all(b"a").and_then(|()| chunks.write_all(b"b")).and_then(|()| chunks.end())
        });
        assert_eq!(runtime.block_on(read(parts)), (b"ab".to_vec(), true));
        writing.join().unwrap().unwrap();
    }
}
