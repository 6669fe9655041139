//! Telling what a profile prints from the output of a script.

use bytes::Bytes;

use crate::marker::{Marker, Word};

/// One output stream: drops what comes before the line that says that the script has begun.
pub(crate) struct Beginning {
    marker: Marker,
    before: Vec<u8>,
    /// The last word that was heard.
    heard: Option<Word>,
    /// Whether the script has begun: all from here on is output.
    begun: bool,
}

impl Beginning {
    pub(crate) fn new(marker: &Marker) -> Self {
        Self { marker: marker.clone(), before: Vec::new(), heard: None, begun: false }
    }

    /// The output in what came.
    pub(crate) fn pass(&mut self, data: Bytes) -> Option<Bytes> {
        if self.begun {
            return Some(data);
        }
        // Whole lines before this place have been read.
        let mut start = self.before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        self.before.extend_from_slice(&data);
        while let Some(length) = self.before[start..].iter().position(|byte| *byte == b'\n') {
            let word = self.marker.read(&self.before[start..start + length]);
            self.heard = word.or(self.heard);
            start += length + 1;
            if let Some(Word::Begun(_)) = word {
                self.begun = true;
                let output = Bytes::copy_from_slice(&self.before[start..]);
                self.before = Vec::new();
                return (!output.is_empty()).then_some(output);
            }
        }
        // A profile that prints without end must not fill the memory.
        let surplus = self.before.len().saturating_sub(NOISE);
        self.before.drain(..surplus);
        None
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.begun
    }

    /// The id of the process that will run the script, or runs it.
    pub(crate) fn pid(&self) -> Option<u32> {
        match self.heard? {
            Word::Ready(pid) | Word::Begun(pid) => Some(pid),
            Word::Unread | Word::Unstarted(_) => None,
        }
    }

    /// The last word that was heard.
    pub(crate) fn heard(&self) -> Option<Word> {
        self.heard
    }

    /// What came before the script has begun.
    pub(crate) fn noise(&self) -> &[u8] {
        &self.before
    }
}

const NOISE: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_before_the_beginning_is_dropped_wherever_the_packets_are_cut() {
        let marker = Marker::new();
        let text = "Welcome!\n+ echo MARK begun 7\nMARK ready 42\nno newline\nMARK begun 42\noutput MARK begun 7\n";
        let text = text.replace("MARK", &marker.to_string()).into_bytes();
        for cut in 0..text.len() {
            let mut beginning = Beginning::new(&marker);
            let mut output = Vec::new();
            for part in [&text[..cut], &text[cut..]] {
                output.extend(beginning.pass(Bytes::copy_from_slice(part)).unwrap_or_default());
            }
            assert_eq!(String::from_utf8(output).unwrap(), format!("output {marker} begun 7\n"), "cut at {cut}");
            assert_eq!(beginning.pid(), Some(42));
        }
    }

    #[test]
    fn noise_without_end_is_not_kept() {
        let marker = Marker::new();
        let mut beginning = Beginning::new(&marker);
        for _ in 0..100 {
            assert_eq!(beginning.pass(Bytes::from(vec![b'x'; NOISE])), None);
        }
        assert_eq!(beginning.noise().len(), NOISE);
        let begun = Bytes::from(format!("\n{marker} begun 1\nout"));
        assert_eq!(beginning.pass(begun), Some(Bytes::from("out")));
    }
}
