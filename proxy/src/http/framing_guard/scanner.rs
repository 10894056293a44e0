//! Reads request heads line by line as they pass. Pure: bytes in, verdict out.

/// First line of an HTTP/2 connection; what follows it is not ours to read.
const HTTP2_PREFACE_LINE: &[u8] = b"PRI * HTTP/2.0";

/// Where in the conversation the connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Before the first byte of a request.
    Between,
    /// Inside a request head.
    Head,
    /// Inside a body.
    Body,
    /// HTTP/2: its frames have their own lengths.
    Http2,
    /// After a violation: nothing more is read.
    Refused,
}

/// A violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// Index in the scanned bytes from which on they must not be seen.
    pub(super) at: usize,
    /// For the log and the metric.
    pub(super) reason: &'static str,
}

/// Bounds of one request head. Checked here, because hyper would pay for its own with an allocation per
/// request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadLimits {
    pub(crate) bytes: usize,
    pub(crate) headers: usize,
}

/// Tracks one connection.
#[derive(Debug)]
pub(super) struct Scanner {
    phase: Phase,
    /// Request heads that have ended. While there is none, the connection may turn out to be HTTP/2.
    heads: u64,
    /// Body bytes still to come.
    body_left: u64,
    /// The beginning of a line whose end has not arrived.
    partial: Vec<u8>,
    head: Head,
    limits: HeadLimits,
}

/// What the lines of the current head said.
#[derive(Debug, Default)]
struct Head {
    bytes: usize,
    lines: usize,
    hosts: usize,
    content_length: Option<u64>,
}

impl Scanner {
    pub(super) fn new(limits: HeadLimits) -> Self {
        Self {
            phase: Phase::Between,
            heads: 0,
            body_left: 0,
            partial: Vec::new(),
            head: Head::default(),
            limits,
        }
    }

    pub(super) const fn phase(&self) -> Phase {
        self.phase
    }

    /// Request heads that have ended.
    pub(super) const fn heads(&self) -> u64 {
        self.heads
    }

    /// Takes the next bytes of the connection.
    pub(super) fn scan(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        let mut at = 0;
        while at < bytes.len() {
            match self.phase {
                Phase::Http2 => return Ok(()),
                Phase::Refused => return Err(Refused { at, reason: "already refused" }),
                Phase::Body => at += self.skip_body(bytes.len() - at),
                Phase::Between | Phase::Head => {
                    self.phase = Phase::Head;
                    at += self.take_line(&bytes[at..]).map_err(|(offset, reason)| {
                        self.phase = Phase::Refused;
                        Refused { at: at + offset, reason }
                    })?;
                }
            }
        }
        Ok(())
    }

    fn skip_body(&mut self, available: usize) -> usize {
        let skipped = usize::try_from(self.body_left).unwrap_or(usize::MAX).min(available);
        self.body_left -= skipped as u64;
        if self.body_left == 0 {
            self.phase = Phase::Between;
        }
        skipped
    }

    /// Takes one line, or what there is of it. Returns how many bytes that was; on a violation, the
    /// offset of a byte of the line that hyper has not seen.
    fn take_line(&mut self, bytes: &[u8]) -> Result<usize, (usize, &'static str)> {
        let Some(end) = memchr::memchr(b'\n', bytes) else {
            self.head.bytes += bytes.len();
            if self.head.bytes > self.limits.bytes {
                return Err((0, "head too large"));
            }
            self.partial.extend_from_slice(bytes);
            return Ok(bytes.len());
        };
        self.head.bytes += end + 1;
        if self.head.bytes > self.limits.bytes {
            return Err((0, "head too large"));
        }
        let verdict = if self.partial.is_empty() {
            self.head.line(&bytes[..end])
        } else {
            self.partial.extend_from_slice(&bytes[..end]);
            let verdict = self.head.line(&self.partial);
            self.partial.clear();
            verdict
        };
        if self.head.lines > self.limits.headers + 1 {
            return Err((0, "too many headers"));
        }
        match verdict {
            // `end`, not 0, so that hyper does not answer before it has seen the line's beginning and
            // knows the method; the line is incomplete for it either way.
            Err(reason) => return Err((end, reason)),
            Ok(Line::More) => {}
            Ok(Line::Http2) if self.heads == 0 => self.phase = Phase::Http2,
            Ok(Line::Http2) => return Err((end, "HTTP/2 inside HTTP/1")),
            Ok(Line::End { content_length }) => {
                self.heads += 1;
                self.body_left = content_length;
                self.phase = if content_length == 0 { Phase::Between } else { Phase::Body };
            }
        }
        Ok(end + 1)
    }
}

/// What a line meant.
enum Line {
    More,
    Http2,
    End { content_length: u64 },
}

impl Head {
    /// Reads one line, without its line feed.
    fn line(&mut self, line: &[u8]) -> Result<Line, &'static str> {
        let Some((b'\r', line)) = line.split_last() else {
            return Err("bare line feed");
        };
        if memchr::memchr2(b'\r', 0, line).is_some() {
            return Err("bare carriage return or NUL");
        }
        self.lines += 1;
        if self.lines == 1 {
            return Self::request_line(line);
        }
        if line.is_empty() {
            return self.end();
        }
        self.header(line)?;
        Ok(Line::More)
    }

    fn request_line(line: &[u8]) -> Result<Line, &'static str> {
        if line == HTTP2_PREFACE_LINE {
            return Ok(Line::Http2);
        }
        // Method, target, version, one space between them: no parser reads that in two ways.
        let mut parts = line.split(|&byte| byte == b' ');
        let shape = (parts.next(), parts.next(), parts.next(), parts.next());
        let (Some(method), Some(target), Some(version), None) = shape else {
            return Err("request line");
        };
        if method.is_empty() || !version.starts_with(b"HTTP/1.") {
            return Err("request line");
        }
        // Neither absolute-form nor authority-form: we are no proxy of that kind.
        if !(target.starts_with(b"/") || target == b"*") {
            return Err("target form");
        }
        Ok(Line::More)
    }

    fn header(&mut self, line: &[u8]) -> Result<(), &'static str> {
        if matches!(line[0], b' ' | b'\t') {
            return Err("folded header");
        }
        let Some(colon) = memchr::memchr(b':', line) else {
            return Err("header without colon");
        };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if matches!(name.last(), None | Some(b' ' | b'\t')) {
            return Err("header name");
        }
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.hosts += 1,
            14 if name.eq_ignore_ascii_case(b"content-length") => self.length(value)?,
            // DynamoDB's clients know their body before they sign it.
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => return Err("transfer encoding"),
            7 if name.eq_ignore_ascii_case(b"trailer") => return Err("trailer"),
            7 if name.eq_ignore_ascii_case(b"upgrade") => return Err("upgrade"),
            _ => {}
        }
        Ok(())
    }

    fn length(&mut self, value: &[u8]) -> Result<(), &'static str> {
        let value = value.trim_ascii();
        // 18 digits stay below 2^63; more is nonsense, and so are signs and lists.
        if value.is_empty() || value.len() > 18 || !value.iter().all(u8::is_ascii_digit) {
            return Err("content length");
        }
        let length = value.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
        if self.content_length.replace(length).is_some() {
            return Err("repeated content length");
        }
        Ok(())
    }

    fn end(&mut self) -> Result<Line, &'static str> {
        let head = std::mem::take(self);
        match head.hosts {
            1 => Ok(Line::End { content_length: head.content_length.unwrap_or(0) }),
            0 => Err("missing host"),
            _ => Err("repeated host"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits { bytes: 4096, headers: 64 };
    const GOOD: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";

    fn verdict(bytes: &[u8]) -> Result<(), &'static str> {
        let whole = Scanner::new(LIMITS).scan(bytes).map_err(|refused| refused.reason);
        // Where the bytes are cut must not matter.
        let mut scanner = Scanner::new(LIMITS);
        let cut = bytes.iter().try_for_each(|byte| scanner.scan(&[*byte])).map_err(|r| r.reason);
        assert_eq!(whole, cut);
        whole
    }

    fn head(headers: &str) -> Vec<u8> {
        format!("POST / HTTP/1.1\r\n{headers}\r\n").into_bytes()
    }

    #[test]
    fn well_framed_requests_pass_one_after_another() {
        let mut twice = GOOD.to_vec();
        twice.extend_from_slice(GOOD);
        twice.extend_from_slice(b"GET / HTTP/1.0\r\nhost:b\r\n\r\n");
        assert_eq!(verdict(&twice), Ok(()));
    }

    #[test]
    fn a_body_is_not_read_as_a_head() {
        let request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nX\n\n\0\0\r\n\r\n";
        assert_eq!(verdict(request), Ok(()));
    }

    #[test]
    fn every_ambiguous_framing_is_refused() {
        let host = "Host: a\r\n";
        for (headers, reason) in [
            (format!("{host}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"), "transfer encoding"),
            (format!("{host}TRANSFER-encoding: identity\r\n"), "transfer encoding"),
            (format!("{host}Content-Length: 3\r\nContent-Length: 3\r\n"), "repeated content length"),
            (format!("{host}Content-Length: +3\r\n"), "content length"),
            (format!("{host}Content-Length: 3, 3\r\n"), "content length"),
            (format!("{host}Content-Length: 0x3\r\n"), "content length"),
            (format!("{host}Content-Length: 9999999999999999999\r\n"), "content length"),
            (format!("{host}Content-Length:\r\n"), "content length"),
            (format!("{host}Content-Length : 3\r\n"), "header name"),
            (format!("{host}X: a\r\n b\r\n"), "folded header"),
            (format!("{host}X: a\n"), "bare line feed"),
            (format!("{host}X: a\rb\r\n"), "bare carriage return or NUL"),
            (format!("{host}X\r\n"), "header without colon"),
            (format!("{host}: x\r\n"), "header name"),
            (format!("{host}Trailer: x\r\n"), "trailer"),
            (format!("{host}Upgrade: h2c\r\n"), "upgrade"),
            (format!("{host}{host}"), "repeated host"),
            (format!("{host}{}", "X:\r\n".repeat(100)), "too many headers"),
            (String::new(), "missing host"),
            (format!("{host}X: {}\r\n", "a".repeat(5000)), "head too large"),
        ] {
            assert_eq!(verdict(&head(&headers)), Err(reason), "{headers:?}");
        }
    }

    #[test]
    fn odd_request_lines_are_refused() {
        for line in [
            "",
            "POST",
            "POST /",
            "POST  / HTTP/1.1",
            "POST / HTTP/1.1 ",
            "POST / HTTP/3.0",
            " / HTTP/1.1",
            "POST /\tHTTP/1.1",
            "PRI * HTTP/2.1",
        ] {
            assert_eq!(verdict(format!("{line}\r\n").as_bytes()), Err("request line"), "{line:?}");
        }
        for target in ["http://a/", "a:80", "a/b", "?x"] {
            let line = format!("POST {target} HTTP/1.1\r\n");
            assert_eq!(verdict(line.as_bytes()), Err("target form"), "{target:?}");
        }
    }

    #[test]
    fn http2_is_let_through_only_as_a_connections_beginning() {
        assert_eq!(verdict(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\n"), Ok(()));
        let mut late = GOOD.to_vec();
        late.extend_from_slice(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        assert_eq!(verdict(&late), Err("HTTP/2 inside HTTP/1"));
    }
}
