//! A client of HTTP/1.1 that keeps its connection, as scrapers do.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use crate::harness::samples::Samples;

/// One connection to the exporter.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
    authorization: Option<String>,
}

impl Client {
    pub(crate) fn connect(port: u16) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Self { stream: BufReader::new(stream), authorization: None }
    }

    /// With these credentials, as `Authorization` has them.
    pub(crate) fn authorized(mut self, authorization: &str) -> Self {
        self.authorization = Some(authorization.to_owned());
        self
    }

    /// Status and body of the answer.
    #[track_caller]
    pub(crate) fn ask(&mut self, method: &str, path: &str) -> (u16, String) {
        self.send(method, path).unwrap();
        self.answer().unwrap()
    }

    #[track_caller]
    pub(crate) fn scrape(&mut self) -> Samples {
        let (status, body) = self.ask("GET", "/metrics");
        assert_eq!(status, 200, "{body}");
        Samples::parse(&body)
    }

    pub(crate) fn send(&mut self, method: &str, path: &str) -> io::Result<()> {
        let authorization = self.authorization.as_ref();
        let authorization = authorization.map_or_else(String::new, |value| format!("Authorization: {value}\r\n"));
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{authorization}Content-Length: 0\r\n\r\n");
        self.stream.get_mut().write_all(request.as_bytes())
    }

    /// Whether an answer begins within this time.
    pub(crate) fn is_answered_within(&mut self, time: Duration) -> bool {
        let stream = self.stream.get_ref();
        stream.set_read_timeout(Some(time)).unwrap();
        let is_answered = stream.peek(&mut [0]).is_ok_and(|count| count > 0);
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        is_answered
    }

    pub(crate) fn answer(&mut self) -> io::Result<(u16, String)> {
        let (mut status, mut length) = (0, None);
        loop {
            let line = self.line()?.to_ascii_lowercase();
            if let Some(rest) = line.strip_prefix("http/1.1 ") {
                status =
                    rest.get(..3).and_then(|code| code.parse().ok()).ok_or_else(|| io::Error::other(line.clone()))?;
            } else if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse::<usize>().ok();
            } else if line.is_empty() {
                break;
            }
        }
        let mut body = Vec::new();
        match length {
            Some(length) => self.take(length, &mut body)?,
            None => loop {
                let length = usize::from_str_radix(&self.line()?, 16).map_err(io::Error::other)?;
                self.take(length, &mut body)?;
                self.line()?;
                if length == 0 {
                    break;
                }
            },
        }
        Ok((status, String::from_utf8(body).map_err(io::Error::other)?))
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line.trim_end().to_owned()),
        }
    }

    fn take(&mut self, length: usize, body: &mut Vec<u8>) -> io::Result<()> {
        let mut part = vec![0; length];
        self.stream.read_exact(&mut part)?;
        body.extend(part);
        Ok(())
    }
}
