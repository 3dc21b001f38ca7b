//! Long answers, whose text is held only as long as somebody reads it.
//!
//! A page or an answer of the API may be a megabyte, and whoever asks for it need not read it. So there are a few places for
//! readers, and who reads nothing makes room, as with scrapes.

use std::{
    io,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http_body_util::BodyExt;
use hyper::{
    Response,
    body::{Body as _, Bytes, Frame, SizeHint},
};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

use super::{
    answers::{Body, busy},
    places::{Limits, MOMENT, Place, Places},
};

/// Places for those who read.
#[derive(Debug, Clone)]
pub(super) struct Readers(Arc<Places>);

impl Default for Readers {
    fn default() -> Self {
        Self(Places::new(READERS))
    }
}

impl Readers {
    /// The answer that is made once there is a place for its reader, who keeps it while the answer is long.
    pub(super) async fn answer(&self, reader: IpAddr, made: impl Future<Output = Response<Body>>) -> Response<Body> {
        let Ok(place) = timeout(WAIT, self.take(reader)).await else {
            return busy("others, or you, do not read what they asked for; ask again in a moment\n");
        };
        let place = Arc::new(place);
        let work = place.work();
        let answer = made.await;
        drop(work);
        if answer.body().size_hint().exact().is_none_or(|length| length <= PART_BYTES as u64) {
            return answer;
        }
        let (head, body) = answer.into_parts();
        match body.collect().await {
            Ok(text) => Response::from_parts(head, hand_out(text.to_bytes().as_ref().into(), place).boxed()),
            Err(error) => busy(&format!("{error}\n")),
        }
    }

    async fn take(&self, reader: IpAddr) -> Place {
        loop {
            match self.0.take(reader).await {
                Some(place) => return place,
                // It has its share, and works on all of it.
                None => sleep(MOMENT).await,
            }
        }
    }
}

/// A body that gives `text` as fast as it is read. What was not read is gone once the place is. The text has no room to grow,
/// which may be as much again.
fn hand_out(text: Box<[u8]>, place: Arc<Place>) -> LongText {
    let (sender, parts) = mpsc::channel(1);
    let left = text.len() as u64;
    tokio::spawn(async move {
        for part in text.chunks(PART_BYTES) {
            // A copy, as a slice would hold the whole.
            let sent = tokio::select! {
                biased;
                () = place.lost() => break,
                sent = timeout(STALL_TIME, sender.send(Bytes::copy_from_slice(part))) => sent,
            };
            if !matches!(sent, Ok(Ok(()))) {
                break;
            }
            place.renew();
        }
    });
    LongText { parts, left }
}

/// The text as hyper takes it: it is broken off where it was given up.
struct LongText {
    parts: mpsc::Receiver<Bytes>,
    left: u64,
}

impl hyper::body::Body for LongText {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.parts.poll_recv(context).map(|part| match part {
            Some(part) => {
                self.left -= part.len() as u64;
                Some(Ok(Frame::data(part)))
            }
            None => Some(Err(io::ErrorKind::BrokenPipe.into())),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// Whoever read nothing for a second makes room for another.
const READERS: Limits = Limits { all: 8, each: 4, patience: Duration::from_secs(1) };
/// How long a place is waited for.
const WAIT: Duration = Duration::from_secs(10);
/// What is handed out at a time; a shorter answer needs no place.
const PART_BYTES: usize = 16 * 1024;
/// How long a reader may read nothing, where nobody wants its place.
const STALL_TIME: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::answers::text;

    fn host(number: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, number])
    }

    async fn long(readers: &Readers, number: u8) -> Response<Body> {
        readers.answer(host(number), async { text(hyper::StatusCode::OK, "x".repeat(5 * PART_BYTES + 7)) }).await
    }

    #[tokio::test]
    async fn a_text_that_is_read_is_whole() {
        let answer = long(&Readers::default(), 1).await;
        assert_eq!(answer.body().size_hint().exact(), Some(5 * PART_BYTES as u64 + 7));
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes().len(), 5 * PART_BYTES + 7);
    }

    #[tokio::test]
    async fn who_reads_nothing_makes_room_and_gets_no_whole_text() {
        let readers = Readers::default();
        let mut unread = Vec::new();
        for number in 0..16 {
            unread.push(long(&readers, number % 5).await);
        }
        let whole = long(&readers, 9).await.into_body().collect().await;
        assert_eq!(whole.unwrap().to_bytes().len(), 5 * PART_BYTES + 7);
        let mut broken = 0;
        for answer in unread {
            broken += usize::from(answer.into_body().collect().await.is_err());
        }
        assert!(broken >= 16 - READERS.all, "{broken} of 16 were given up");
    }

    #[tokio::test]
    async fn who_gave_up_leaves_its_place() {
        let readers = Readers::default();
        for _ in 0..100 {
            drop(long(&readers, 1).await);
        }
        timeout(WAIT, readers.0.all_free()).await.unwrap();
    }
}
