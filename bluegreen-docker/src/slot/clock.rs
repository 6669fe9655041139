//! The engine's own time, which may be another machine's.

use bluegreen_core::{Error, ErrorKind, Result};
use jiff::Timestamp;

use crate::engine::{Engine, quick};

pub(crate) async fn engine_time(engine: &Engine) -> Result<Timestamp> {
    let info = quick("ask the engine for its time", engine.docker().await?.info()).await.map_err(Error::not_applied)?;
    let time = info.system_time.and_then(|text| text.parse().ok());
    time.ok_or_else(|| Error::new(ErrorKind::Unexpected, "the engine does not tell its time").not_applied())
}
