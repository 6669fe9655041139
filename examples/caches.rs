//! A cache for each slot, cleared before its slot gets traffic, and a chat that is told how each deploy ended.
//!
//! ```text
//! CACHE=/run/redis/redis.sock CHAT=https://hooks.chat.example/... cargo run --example caches -- deploy 1.0 ./hello
//! ```

use std::process::ExitCode;
use std::time::Duration;

use bluegreen::hook::{CommandHook, HookStep};
use bluegreen::http::{HttpCheck, HttpHook};
use bluegreen::local::{ProcessRuntime, ProxyRouter};
use bluegreen::observer::LineLog;
use bluegreen::{Command, Error, FileStateStore, LocalHost, Pipeline, Release, Result, Secret};

/// Blue has redis database 0, green has 1. `redis-cli` exits with 0 whatever the server answers, so the answer is looked at.
const CLEAR: &str = r#"
    case "$SLOT" in blue) database=0 ;; green) database=1 ;; *) exit 2 ;; esac
    answer=$(redis-cli -s "$1" -n "$database" FLUSHDB 2>&1)
    [ "$answer" = OK ] || { echo "$answer" >&2; exit 1; }
"#;

fn pipeline() -> Result<Pipeline> {
    let variable = |name: &str| std::env::var(name).map_err(|_| Error::config(format!("`{name}` is not set")));
    let address = variable("SHOP_ADDRESS").unwrap_or_else(|_| "127.0.0.1:8080".to_owned());

    let clear = Command::script(CLEAR).arg(variable("CACHE")?).called("clear the cache of the slot");
    let clear = HookStep::before_first_shift("clear-cache", CommandHook::new(LocalHost::new(), clear))
        .repeatable(true) // Clearing it twice is as good as once.
        .timeout(Duration::from_secs(10)); // A cache that cannot be cleared by then fails the deploy: nothing has moved yet.

    // Nothing waits for the chat, and what it answers, or that it does not, changes nothing.
    let chat = HttpHook::chat(Secret::new(variable("CHAT")?))?;
    let tell = |step: HookStep| step.in_background(true).timeout(Duration::from_secs(5));

    Pipeline::builder("shop")
        .runtime(ProcessRuntime::builder("state/processes").build()?)
        .router(ProxyRouter::new("state/proxy.socket"))
        .store(FileStateStore::new("state"))
        .health(HttpCheck::get("/")?)
        .verify(HttpCheck::builder(format!("http://{address}/")).version_from_router().build()?)
        .hook(clear)
        .hook(tell(HookStep::after_success("tell-chat", chat.clone())))
        .hook(tell(HookStep::after_failure("tell-chat", chat.clone())))
        .hook(tell(HookStep::after_rollback("tell-chat", chat)))
        .observer(LineLog::stderr())
        .build()
}

async fn run(words: &[&str]) -> Result<()> {
    let pipeline = pipeline()?;
    match words {
        ["plan", version, program] => {
            print!("{}", pipeline.plan(&Release::new(*version)?.with_artifact(program)).await?);
        }
        ["deploy", version, program] => {
            pipeline.recover().await?;
            println!("{}", pipeline.deploy(Release::new(*version)?.with_artifact(program)).await?);
        }
        ["rollback"] => println!("{}", pipeline.rollback().await?),
        _ => return Err(Error::config("plan|deploy VERSION PROGRAM or rollback")),
    }
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().skip(1).collect();
    match run(&words.iter().map(String::as_str).collect::<Vec<_>>()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprint!("{}", error.render());
            ExitCode::FAILURE
        }
    }
}
