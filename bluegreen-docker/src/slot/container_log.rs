//! What one container wrote.

use bluegreen_core::{Mask, Result};
use bollard::container::LogOutput;
use bollard::query_parameters::LogsOptionsBuilder;
use serde::{Deserialize, Serialize};

use crate::engine::{Answer, Engine, READING};

/// How much of a line is shown.
const LONGEST: usize = 8 << 10;

/// One line, with the engine's time of it, by which the lines of several containers are put in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) at: String,
    pub(crate) from: String,
    pub(crate) text: String,
}

/// The last lines of one container, in the order in which they were written.
pub(crate) async fn of_container(engine: &Engine, mask: &Mask, id: &str, tail: usize) -> Result<Vec<Line>> {
    let docker = engine.docker().await?;
    let options = LogsOptionsBuilder::default().stdout(true).stderr(true).timestamps(true).tail(&tail.to_string());
    let mut chunks = Answer::new(docker.logs(id, Some(options.build())), READING);
    let mut lines = std::collections::VecDeque::new();
    loop {
        let chunk = match chunks.next().await {
            Ok(None) => break,
            Ok(Some(
                LogOutput::StdOut { message } | LogOutput::StdErr { message } | LogOutput::Console { message },
            )) => message,
            Ok(Some(LogOutput::StdIn { .. })) => continue,
            Err(error) => {
                // It was removed meanwhile, or its log driver keeps nothing to be read.
                match error.kind() {
                    bluegreen_core::ErrorKind::NotFound => break,
                    _ if error.message().contains("does not support reading") => break,
                    _ => return Err(error.not_applied().with_operation("read the log of a container")),
                }
            }
        };
        let line = parse(&chunk);
        // Only then is it cut, lest a part of a secret be left.
        lines.push_back(Line { text: shortened(mask.apply(&line.text).into_owned()), ..line });
        if lines.len() > tail {
            lines.pop_front();
        }
    }
    Ok(lines.into())
}

/// "2023-11-14T22:13:20.123456789Z what it wrote"
fn parse(chunk: &[u8]) -> Line {
    let text = String::from_utf8_lossy(chunk);
    let text = text.trim_end_matches(['\n', '\r']);
    let (at, text) = text.split_once(' ').unwrap_or((text, ""));
    Line { at: at.to_owned(), from: String::new(), text: text.to_owned() }
}

fn shortened(mut text: String) -> String {
    let end = (0..=LONGEST.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.truncate(end.unwrap_or(0));
    text
}
