//! Server-sent events, as far as nodes use them: `data:` lines, comments, and a blank line at the end of
//! each event (WHATWG HTML, section 9.2).

/// Longest event in bytes: base64 of a sealed frame of the largest class, and some room.
pub(super) const MAX_EVENT_BYTES: usize = (super::MAX_ANSWER_BYTES / 3 + 1) * 4 + 1_024;

/// An event, or the line before its end, is longer than any that a node sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event is longer than {MAX_EVENT_BYTES} bytes")]
pub(super) struct EventTooLong;

/// Cuts a stream of bytes into the data of its events.
///
/// Bytes go in as they come ([`Self::push`]), events come out whole ([`Self::next`]). It never holds more
/// than one event beyond what was pushed last.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// What came and was not yet cut into lines, from `start` on.
    pending: Vec<u8>,
    start: usize,
    /// Where to look on for the end of a line.
    searched: usize,
    data: Vec<u8>,
}

impl Events {
    /// Takes the next bytes of the stream.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.pending.drain(..self.start);
            self.searched -= self.start;
            self.start = 0;
        }
        self.pending.extend_from_slice(bytes);
    }

    /// The data of the next whole event, if there is one; comments and other fields are passed over.
    ///
    /// # Errors
    /// [`EventTooLong`]; the stream can't be read on after it.
    pub(super) fn next(&mut self) -> Result<Option<Vec<u8>>, EventTooLong> {
        loop {
            let rest = self.pending.get(self.searched..).unwrap_or_default();
            let Some(length) = rest.iter().position(|byte| *byte == b'\n') else {
                self.searched = self.pending.len();
                let unfinished = self.pending.len() - self.start;
                return if unfinished > MAX_EVENT_BYTES {
                    Err(EventTooLong)
                } else {
                    Ok(None)
                };
            };
            let end = self.searched + length;
            let line = self.pending.get(self.start..end).unwrap_or_default();
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if let Some(data) = line.strip_prefix(b"data:") {
                if self.data.len() + data.len() > MAX_EVENT_BYTES {
                    return Err(EventTooLong);
                }
                self.data
                    .extend_from_slice(data.strip_prefix(b" ").unwrap_or(data));
            }
            let is_end = line.is_empty();
            self.start = end + 1;
            self.searched = self.start;
            if is_end && !self.data.is_empty() {
                return Ok(Some(std::mem::take(&mut self.data)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(parts: &[&[u8]]) -> Vec<String> {
        let mut events = Events::default();
        let mut out = Vec::new();
        for part in parts {
            events.push(part);
            while let Some(event) = events.next().unwrap() {
                out.push(String::from_utf8(event).unwrap());
            }
        }
        out
    }

    #[test]
    fn events_between_comments_and_other_fields_are_read() {
        let stream = b": hello\n\nid: 7\r\ndata: abc\r\n\r\n: beat\n\ndata:def\n\ndata: unfinished";
        assert_eq!(read(&[stream]), ["abc", "def"]);
    }

    #[test]
    fn event_without_end_is_refused_before_it_fills_memory() {
        let mut events = Events::default();
        let refused = (0..100).any(|_| {
            events.push(&[b'a'; 100_000]);
            events.next().is_err()
        });
        assert!(refused);
        let mut events = Events::default();
        let refused = (0..100).any(|_| {
            events.push(&[&b"data: "[..], &[b'a'; 100_000], b"\n"].concat());
            events.next().is_err()
        });
        assert!(refused);
    }

    proptest! {
        #[test]
        fn events_cut_anywhere_are_the_same(cuts in proptest::collection::vec(0usize..60, 0..6)) {
            let stream = b"data: one\n\n: comment\n\ndata: two\r\n\r\nevent: x\ndata: three\n\n";
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
            cuts.sort_unstable();
            cuts.push(stream.len());
            let mut from = 0;
            let parts: Vec<&[u8]> = cuts.iter().map(|to| { let part = &stream[from..*to]; from = *to; part }).collect();
            prop_assert_eq!(read(&parts), ["one", "two", "three"]);
        }

        #[test]
        fn any_bytes_never_panic(parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..10)) {
            let mut events = Events::default();
            for part in parts {
                events.push(&part);
                while let Ok(Some(_)) = events.next() {}
            }
        }
    }
}
