//! Where further targets come from: files that are looked at and servers that are asked, again and again.
//! Keeps what each source listed last, and counts; what a list means for probing is the configuration's business.

mod files;
mod http;
mod watch;

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hasher, RandomState},
    sync::{Arc, Weak},
    thread,
    time::{Duration, Instant, SystemTime},
};

pub use http::{Fetch, Fetched};
pub use watch::Watch;

use crate::{
    config::{
        Config, Discovery, FileSource, HttpSource, KeepLabels, LeftOut, Listing, Rejection, SourceListing, Taken,
    },
    state::SourceVitals,
};
use files::Files;

/// All sources of a configuration, and what each listed last.
#[derive(Debug, Default)]
pub struct Sources {
    sources: Vec<Source>,
}

#[derive(Debug)]
struct Source {
    kind: Kind,
    /// How many targets it gave; `None` before it could be read once.
    targets: Option<usize>,
    is_known: bool,
    failures: u64,
    rejected: [u64; Rejection::ALL.len()],
    left_out: HashMap<LeftOut, usize>,
    /// What was last said to be wrong with it, and when that was last counted.
    complaint: Option<(String, Instant)>,
}

#[derive(Debug)]
enum Kind {
    Files(FileSource, Files),
    Http(Box<Asked>),
}

#[derive(Debug)]
struct Asked {
    source: HttpSource,
    listing: Option<Listing>,
    etag: Option<String>,
    next: Instant,
    /// Held by the question under way. A thread that asks may wait for a file that the question needs without end, and one
    /// that cannot be had loses it.
    under_way: Weak<()>,
}

impl Sources {
    /// Follows another configuration. What sources of the same name listed and counted is kept.
    pub fn follow(&mut self, discovery: &Discovery) {
        let mut before: HashMap<String, Source> =
            self.sources.drain(..).map(|source| (source.name().to_owned(), source)).collect();
        let files = discovery.files.iter().map(|source| Kind::Files(source.clone(), Files::default()));
        let http = discovery.http.iter().map(|source| Kind::Http(Box::new(Asked::new(source.clone()))));
        for kind in files.chain(http) {
            let source = match before.remove(kind.name()) {
                Some(known) => known.follow(kind),
                None => Source::new(kind),
            };
            self.sources.push(source);
        }
    }

    /// Looks at all files. Whether any source lists anything else now.
    pub fn look(&mut self) -> bool {
        let (now, wall_clock) = (clock(), wall_clock());
        let mut has_changed = false;
        for source in &mut self.sources {
            let Kind::Files(of, files) = &mut source.kind else { continue };
            let (changed, result) = files.look(of, wall_clock);
            // The first look is a change even where there is nothing: from then on it is known that there is nothing.
            has_changed |= changed || (result.is_ok() && !source.is_known);
            source.note(result, now);
        }
        has_changed
    }

    /// The questions that are due, each once.
    pub fn take_due(&mut self) -> Vec<Fetch> {
        let now = clock();
        let asked = self.sources.iter_mut().filter_map(|source| match &mut source.kind {
            Kind::Http(asked) => Some(asked),
            Kind::Files(..) => None,
        });
        let due = asked.filter(|asked| asked.next <= now && asked.under_way.strong_count() == 0);
        due.map(|asked| {
            let under_way = Arc::new(());
            asked.under_way = Arc::downgrade(&under_way);
            // Where the question is lost, the next one comes in its time.
            asked.next = now + asked.pause();
            Fetch { source: asked.source.clone(), etag: asked.etag.clone(), _under_way: under_way }
        })
        .collect()
    }

    /// Takes an answer in. Whether the source lists anything else now.
    pub fn take_in(&mut self, fetched: Fetched) -> bool {
        let now = clock();
        let name = fetched.source.name.as_str();
        let found = self.sources.iter_mut().find(|source| source.name() == name);
        // The configuration may have changed meanwhile.
        let Some(source) = found else { return false };
        let Kind::Http(asked) = &mut source.kind else { return false };
        if asked.source != fetched.source {
            // Another question was asked in its place, and its answer may be here already.
            return false;
        }
        let (result, has_changed) = match fetched.outcome {
            Ok(None) => (Ok(()), false),
            Ok(Some((listing, etag))) => {
                asked.etag = etag;
                (Ok(()), asked.listing.replace(listing.clone()) != Some(listing))
            }
            Err(error) => (Err(error), false),
        };
        asked.next = now + asked.pause();
        source.note(result, now);
        has_changed
    }

    /// `config` with the targets of all sources beside its own. What had to be left out is counted and logged, each entry
    /// once as long as it stays.
    pub fn union(&mut self, config: &Config) -> Config {
        let listings: Vec<_> = self.sources.iter().map(Source::listing).collect();
        let (config, taken) = config.with_discovered(&listings);
        drop(listings);
        for (source, taken) in self.sources.iter_mut().zip(taken) {
            source.account(taken);
        }
        config
    }

    /// What is counted of each source.
    #[must_use]
    pub fn vitals(&self) -> Vec<SourceVitals> {
        let vitals = |source: &Source| SourceVitals {
            source: source.name().to_owned(),
            targets: source.targets,
            failures: source.failures,
            rejected: Rejection::ALL.map(Rejection::label).into_iter().zip(source.rejected).collect(),
        };
        self.sources.iter().map(vitals).collect()
    }
}

/// `config` with the targets of all its sources, each asked once.
#[must_use]
pub fn find_all(config: &Config) -> Config {
    let mut sources = Sources::default();
    sources.follow(&config.discovery);
    sources.look();
    let asking: Vec<_> = sources.take_due().into_iter().map(|fetch| thread::spawn(move || fetch.run())).collect();
    for fetched in asking.into_iter().filter_map(|asking| asking.join().ok()) {
        sources.take_in(fetched);
    }
    sources.union(config)
}

impl Kind {
    fn name(&self) -> &str {
        match self {
            Self::Files(source, _) => &source.name,
            Self::Http(asked) => &asked.source.name,
        }
    }
}

impl Source {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            targets: None,
            is_known: false,
            failures: 0,
            rejected: [0; Rejection::ALL.len()],
            left_out: HashMap::new(),
            complaint: None,
        }
    }

    fn name(&self) -> &str {
        self.kind.name()
    }

    /// The same source as another configuration has it.
    fn follow(mut self, kind: Kind) -> Self {
        match (&mut self.kind, kind) {
            (Kind::Files(source, _), Kind::Files(new, _)) if source.folder == new.folder => *source = new,
            (Kind::Http(asked), Kind::Http(new)) => {
                if asked.source != new.source {
                    asked.next = new.next;
                    // What the old question waits for may be what is mended.
                    asked.under_way = Weak::new();
                    asked.etag = None;
                    asked.source = new.source;
                }
            }
            (known, new) => *known = new,
        }
        self
    }

    fn listing(&self) -> SourceListing<'_> {
        let (listings, keep_labels): (Vec<_>, &KeepLabels) = match &self.kind {
            Kind::Files(source, files) => (files.listings().collect(), &source.keep_labels),
            Kind::Http(asked) => (asked.listing.iter().collect(), &asked.source.keep_labels),
        };
        SourceListing { listings, keep_labels }
    }

    /// Counts a failure when it begins and as long as it lasts, and says so when it begins, changes or ends.
    fn note(&mut self, result: Result<(), String>, now: Instant) {
        match result {
            Ok(()) => {
                self.is_known = true;
                if self.complaint.take().is_some() {
                    tracing::info!(source = self.name(), "A source of targets can be read again");
                }
            }
            Err(error) => {
                let is_file = matches!(self.kind, Kind::Files(..));
                let (is_known, is_recent) = match &self.complaint {
                    // A question is a failure each time; a file is looked at every few seconds.
                    Some((known, counted)) => (*known == error, is_file && now - *counted < COUNT_AGAIN_AFTER),
                    None => (false, false),
                };
                if !is_known {
                    tracing::warn!(source = self.name(), %error, "Kept the last targets of a source that cannot be read");
                }
                if !(is_known && is_recent) {
                    self.failures += 1;
                    self.complaint = Some((error, now));
                }
            }
        }
    }

    fn account(&mut self, taken: Taken) {
        self.targets = (self.is_known || taken.targets > 0).then_some(taken.targets);
        let mut left_out: HashMap<LeftOut, usize> = HashMap::new();
        for entry in taken.left_out {
            *left_out.entry(entry).or_default() += 1;
        }
        let mut new = Vec::new();
        for (entry, count) in &left_out {
            let before = self.left_out.get(entry).copied().unwrap_or_default();
            if let Some(rejected) = self.rejected.get_mut(entry.reason as usize)
                && *count > before
            {
                *rejected += (count - before) as u64;
                new.push(entry);
            }
        }
        if let Some(example) = new.iter().min_by_key(|left_out| (left_out.reason, &left_out.entry)) {
            let (entries, reason, entry) = (new.len(), example.reason.label(), example.entry.as_str());
            tracing::warn!(
                source = self.name(),
                entries,
                reason,
                entry,
                "Left out entries of a list, such as this one"
            );
        }
        self.left_out = left_out;
    }
}

impl Asked {
    fn new(source: HttpSource) -> Self {
        Self { source, listing: None, etag: None, next: clock(), under_way: Weak::new() }
    }

    /// Until the next question. Soon where there is nothing to go on with; else by the interval, a little earlier by
    /// chance, so that many exporters do not ask at once.
    fn pause(&self) -> Duration {
        let interval = self.source.refresh_interval;
        if self.listing.is_none() {
            return interval.min(SOON);
        }
        let chance = RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64;
        interval.mul_f64(1.0 - JITTER * chance)
    }
}

#[expect(clippy::disallowed_methods, reason = "sources are asked in the rhythm of the clock")]
fn clock() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "files bear the time of the wall clock")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}

/// How long a file that cannot be read counts as one failure.
const COUNT_AGAIN_AFTER: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_secs(5);
const JITTER: f64 = 0.1;
