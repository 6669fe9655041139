//! What a deploy would do, for a plan.

use std::collections::BTreeMap;

use bluegreen_core::{Preview, Result, Target};

use super::Inner;
use super::prepare::check;
use super::start::port;
use crate::slot::fetch;
use crate::slot::records::ImageRecord;

pub(super) async fn preview(inner: &Inner, target: &Target) -> Result<Preview> {
    let slots = &inner.slots;
    let records = slots.records.read_all().await?;
    let wanted = check(inner, target, &records).await?;
    fetch::can_be_had(&slots.engine, &wanted).await?;
    let before = slots.services(target.slot).await?;
    let (image, name) = (&wanted.reference, &slots.groups[target.slot]);
    let at = port(inner, target, &before).await?;
    let at = at.map(|at| format!(", published at 127.0.0.1:{at}")).unwrap_or_default();
    let mut preview = Preview::default().note(format!("the container {name} is made of {image}{at}"));
    let is_same =
        |images: &BTreeMap<String, ImageRecord>| images.values().any(|before| before.reference == image.to_string());
    if let Some(other) = records.newest_other(target.version(), is_same) {
        let what = format!("{} names the same image as {other}", target.version());
        preview = preview.note(format!("{what}: is there a `${{VERSION}}` in the image's name?"));
    }
    Ok(preview)
}
