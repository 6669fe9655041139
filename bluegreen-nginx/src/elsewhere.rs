//! Why nginx answers with another site than the one that was written.

use bluegreen_core::host::{Reply, Script};
use bluegreen_core::{Error, ErrorKind};

use crate::server::Server;

/// The error about an answer that is not the service's. `path` is where nginx should read the site, `id` names its text, and
/// `before` is the reply about the test and the reload.
pub(crate) async fn answers(server: &Server, path: &str, id: &str, answer: String, before: &Reply) -> Error {
    let seen = Sites::read(server).await;
    if let Some(error) = seen.unread(path, id) {
        return error.with("answer", answer);
    }
    let name = server.config.host_name();
    let others: Vec<_> = seen.named(&server.config.server_names, path).collect();
    let what = match others.as_slice() {
        [] => format!("another site answers for {name}"),
        others => format!("another site answers for {name}: {}", others.join(", ")),
    };
    let error = Error::new(ErrorKind::Conflict, what).with("answer", answer);
    let error = match warnings(server, before).as_slice() {
        [] => error,
        lines => error.with("nginx warned", lines.join("; ")),
    };
    error.with_hint("take the name out of the other site, or let `server_name` and `listen` be those of no other")
}

/// The error about a file that nginx certainly does not read.
pub(crate) async fn unread(server: &Server, path: &str, id: &str) -> Option<Error> {
    Sites::read(server).await.unread(path, id)
}

/// What the test warned of that has to do with the site.
fn warnings(server: &Server, reply: &Reply) -> Vec<String> {
    let names = &server.config.server_names;
    let ours = |line: &&str| names.is_empty() || names.iter().any(|name| line.contains(&format!("\"{name}\"")));
    reply.all("warn").filter(ours).map(str::to_owned).collect()
}

/// The files of nginx's configuration.
#[derive(Debug, Default)]
struct Sites(Vec<File>);

#[derive(Debug)]
struct File {
    path: String,
    names: Vec<String>,
    ids: Vec<String>,
}

impl Sites {
    /// Where nginx does not tell, as without the rights for it, there are none.
    async fn read(server: &Server) -> Self {
        let script = Script::new("read nginx's configuration", include_str!("scripts/dump_sites.sh"));
        server.run(script).await.map_or_else(|_| Self::default(), |reply| Self::parse(&reply))
    }

    fn parse(reply: &Reply) -> Self {
        let mut files: Vec<File> = Vec::new();
        for (word, rest) in reply.pairs() {
            match (word, files.last_mut()) {
                ("file", _) => files.push(File { path: rest.to_owned(), names: Vec::new(), ids: Vec::new() }),
                ("name", Some(file)) => file.names.extend(rest.split_whitespace().map(str::to_owned)),
                ("site", Some(file)) => file.ids.push(rest.to_owned()),
                _ => {}
            }
        }
        Self(files)
    }

    fn unread(&self, path: &str, id: &str) -> Option<Error> {
        let read = |file: &File| file.path == path || file.ids.iter().any(|have| have == id);
        if self.0.is_empty() || self.0.iter().any(read) {
            return None;
        }
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        let pattern = if name.ends_with(".conf") { "*.conf" } else { "*" };
        let error = Error::config(format!("nginx does not read {path}: no `include` of its configuration leads there"));
        let advice = format!(
            "add `include {directory}/{pattern};` to the `http` block of nginx.conf, or put the site where it reads already"
        );
        Some(error.with_hint(advice))
    }

    /// The other files in which one of these names stands.
    fn named<'a>(&'a self, names: &'a [String], path: &'a str) -> impl Iterator<Item = &'a str> {
        let has = |file: &&File| file.names.iter().any(|name| names.contains(name));
        self.0.iter().filter(move |file| file.path != path).filter(has).map(|file| file.path.as_str())
    }
}
