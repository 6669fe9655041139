//! What keeps two slots of one compose file from running side by side: found in the whole resolved configuration, before
//! anything is changed. Pure: each file looks at one concern, and refuses, changes our own file, or notes.

mod data;
mod discovery;
mod finding;
mod images;
mod names;
mod networks;
mod ports;
mod question;
mod reach;
mod shared;
mod work;

use crate::compose::Patch;

pub(crate) use finding::Findings;
pub(crate) use question::{Kind, Question};

pub(crate) fn analyze(question: &Question<'_>) -> Findings {
    let mut findings = Findings::default();
    let wishes = question.wishes;
    let told = [&wishes.shared, &wishes.jobs, &wishes.only_while_live].into_iter().flatten();
    for name in told.filter(|name| !question.project.services.contains_key(*name)) {
        findings.refuse(
            format!("the compose file has no service {name:?}"),
            "`docker compose config --services` lists them",
        );
    }
    networks::find(question, &mut findings);
    reach::find(question, &mut findings);
    names::find(question, &mut findings);
    ports::find(question, &mut findings);
    data::find(question, &mut findings);
    discovery::find(question, &mut findings);
    shared::find(question, &mut findings);
    work::find(question, &mut findings);
    findings
}

/// The paths whose [`Kind`] an analysis wants to know.
pub(crate) fn paths(question: &Question<'_>) -> Vec<String> {
    data::paths(question)
}

/// The file of the shared services' own project.
pub(crate) fn shared_project(question: &Question<'_>) -> Patch {
    shared::project(question)
}
