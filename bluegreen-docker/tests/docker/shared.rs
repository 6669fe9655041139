//! Services that run once, for both slots; with a real PostgreSQL and a real redis.

use bluegreen_core::memory::{MemoryHealth, MemoryRouter, MemoryStateStore};
use bluegreen_core::{ErrorKind, Health, HealthCheck, Instance, Pipeline, Release, Router, Runtime, Slot, Target};
use bluegreen_docker::{ComposeRuntime, ComposeRuntimeBuilder};

use crate::support::{Shop, WAITS, data_image, docker, docker_ok, eventually, grace, needs_data, needs_docker};

/// A shop with a database; its project goes with it.
struct WithDatabase {
    shop: Shop,
}

const POSTGRES: &str = "
services:
  web:
    image: IMAGES/web:${VERSION}
    depends_on: {db: {condition: service_healthy}}
    environment: {DATABASE: 'postgres://app@database/app'}
    links: ['db:database']
  db:
    image: IMAGES/postgres:15
    init: true
    stop_signal: SIGINT
    volumes: ['pg:/data']
    healthcheck: {test: [CMD, pg_isready, '-h', '127.0.0.1', '-U', 'postgres'], interval: 1s, retries: 30}
volumes: {pg: {}}
";

/// Makes a cluster where there is none.
const RUN_POSTGRES: &str = "if [ ! -s /data/PG_VERSION ]; then chown postgres /data; chmod 700 /data; \
    su postgres -s /bin/sh -c 'initdb -D /data -A trust -E UTF8 --no-locale >/dev/null' || exit 1; \
    echo 'host all all all trust' >> /data/pg_hba.conf; fi; \
    exec su postgres -s /bin/sh -c \"exec postgres -D /data -c listen_addresses='*' -c unix_socket_directories=/tmp\"";

impl WithDatabase {
    fn new() -> Self {
        let shop = Shop::new(POSTGRES);
        for version in ["1.0", "2.0", "3.0"] {
            shop.images.make(&format!("web:{version}"), WAITS);
        }
        shop.images.make("web:bad", "exit 1");
        data_image(&shop.images, "postgres:15", RUN_POSTGRES);
        Self { shop }
    }

    fn builder(&self) -> ComposeRuntimeBuilder {
        self.shop.builder()
    }

    fn project(&self) -> String {
        format!("{}-shared", self.shop.name)
    }

    fn container(&self) -> String {
        let label = format!("label=com.docker.compose.project={}", self.project());
        docker_ok(&["ps", "-aq", "--no-trunc", "--filter", &label])
    }

    /// As a program in a slot would ask it, by the name in the compose file.
    fn sql(&self, slot: Slot, host: &str, sql: &str) -> String {
        let network = format!("container:{}", self.shop.container(slot, "web"));
        let image = self.shop.images.name("postgres:15");
        docker_ok(&["run", "--rm", "--network", &network, &image, "psql", "-h", host, "-U", "postgres", "-Atc", sql])
    }
}

impl Drop for WithDatabase {
    fn drop(&mut self) {
        let label = format!("label=com.docker.compose.project={}", self.project());
        for slot in Slot::BOTH {
            self.shop.ps(slot, &["-aq"]).iter().for_each(|id| drop(docker(&["rm", "-f", "-v", id])));
        }
        for id in docker_ok(&["ps", "-aq", "--filter", &label]).lines() {
            if std::thread::panicking() {
                eprintln!("{}", String::from_utf8_lossy(&docker(&["logs", "--tail", "20", id]).stderr));
            }
            docker(&["rm", "-f", "-v", id]);
        }
        for kind in ["network", "volume"] {
            for id in docker_ok(&[kind, "ls", "-q", "--filter", &label]).lines() {
                docker(&[kind, "rm", id]);
            }
        }
    }
}

/// Answers as the release that has the traffic.
#[derive(Debug)]
struct Public(MemoryRouter, ComposeRuntime);

impl std::fmt::Display for Public {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("public address")
    }
}

#[async_trait::async_trait]
impl HealthCheck for Public {
    async fn check(&self, _: &Target, _: &Instance) -> bluegreen_core::Result<Health> {
        let live = self.0.current().await?.and_then(|split| split.sole()).unwrap();
        let found = self.1.inspect(live).await?;
        Ok(Health::Healthy { version: found.version().cloned() })
    }
}

fn pipeline(runtime: &ComposeRuntime, shop: &Shop, router: &MemoryRouter, store: &MemoryStateStore) -> Pipeline {
    Pipeline::builder(&shop.name)
        .runtime(runtime.clone())
        .router(router.clone())
        .store(store.clone())
        .health(MemoryHealth::new())
        .verify(Public(router.clone(), runtime.clone()))
        .check_interval(std::time::Duration::from_millis(50))
        .build()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_shared_database_survive_deploys_failures_and_rollbacks_and_it_is_never_restarted() {
    needs_docker!();
    needs_data!();
    let with = WithDatabase::new();
    let runtime = with.builder().shared(["db"]).build().unwrap();
    let (router, store) = (MemoryRouter::new(), MemoryStateStore::new());
    let pipeline = pipeline(&runtime, &with.shop, &router, &store);
    let release = |version: &str| Release::new(version).unwrap();
    pipeline.deploy(release("1.0")).await.unwrap();
    with.sql(Slot::Blue, "db", "create table orders (id serial, slot text)");
    let started =
        || docker_ok(&["inspect", "--format", "{{.Id}} {{.State.StartedAt}} {{.RestartCount}}", &with.container()]);
    let first = started();
    let mut rows = 0;
    let mut order = |slot: Slot| {
        with.sql(slot, "database", &format!("insert into orders (slot) select '{slot}' from generate_series(1, 100)"));
        rows += 100;
        assert_eq!(
            with.sql(slot, "db", "select count(*) from orders"),
            rows.to_string(),
            "rows are gone, as {slot} sees it"
        );
    };
    order(Slot::Blue);
    pipeline.deploy(release("2.0")).await.unwrap();
    order(Slot::Green);
    order(Slot::Blue);
    pipeline.rollback().await.unwrap();
    order(Slot::Blue);
    pipeline.deploy(release("bad")).await.unwrap_err();
    order(Slot::Blue);
    pipeline.deploy(release("3.0")).await.unwrap();
    order(Slot::Green);
    pipeline.retire_now().await.unwrap();
    order(Slot::Green);
    assert_eq!(started(), first, "the database was restarted");
    assert_eq!(with.shop.ps(Slot::Green, &["-q"]).len(), 1, "the database is in the slot too");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_service_that_is_absent_or_changed_is_told_and_is_not_changed_by_a_deploy() {
    needs_docker!();
    needs_data!();
    let with = WithDatabase::new();
    let runtime = with.builder().shared(["db"]).build().unwrap();
    let (first, second) = (with.shop.version(Slot::Blue, "1.0"), with.shop.version(Slot::Green, "2.0"));
    let told = async || runtime.preview(&second).await.unwrap().notes.join("\n");
    assert!(told().await.contains("does not run: it is brought up"), "{}", told().await);
    runtime.prepare(&first).await.unwrap();
    runtime.start(&first).await.unwrap();
    let told_then = told().await;
    assert!(!told_then.contains("shared"), "{told_then}");

    let compose = POSTGRES.replace("init: true", "init: true\n    environment: {MORE: '1'}");
    with.shop.write("compose.yaml", &compose);
    assert!(told().await.contains("the file says otherwise than what runs"), "{}", told().await);
    let before = with.container();
    runtime.prepare(&second).await.unwrap();
    runtime.start(&second).await.unwrap();
    assert_eq!(with.container(), before);

    docker_ok(&["stop", &before]);
    let found = runtime.inspect(Slot::Blue).await.unwrap();
    assert!(matches!(&found, Instance::Degraded { reason, .. } if reason.contains("db, which is shared")), "{found:?}");
    runtime.stop(Slot::Green, grace()).await.unwrap();
    runtime.start(&second).await.unwrap();
    assert_eq!(with.container(), before, "it was made anew");
    let whole = async || matches!(runtime.inspect(Slot::Blue).await.unwrap(), Instance::Running { .. });
    eventually("it is up again", whole).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_in_the_slots_is_refused_wherever_its_data_is() {
    needs_docker!();
    let shop = Shop::new("");
    let cases = [
        ("volumes: ['pg:/data']", "volumes: {pg: {}}", "db keeps its data in the volume pg: green would start empty"),
        ("volumes: ['./pg:/data']", "", "both slots would have"),
        ("volumes: ['pg:/data']", "volumes: {pg: {name: fixed}}", "both slots would have pg open for writing"),
        ("volumes: ['pg:/data']", "volumes: {pg: {external: true, name: fixed}}", "both slots would have pg open"),
        ("restart: always", "", "db keeps its data in its container: green would start empty"),
    ];
    for (service, top, expected) in cases {
        shop.write(
            "compose.yaml",
            &format!(
                "services:\n  web: {{image: 'IMAGES/web:1.0', depends_on: [db]}}\n  db:\n    image: IMAGES/postgres:15\n    \
                 {service}\n    ports: ['5432:5432']\n{top}\n"
            ),
        );
        let runtime = shop.builder().data_shared(["fixed", "pg", "./pg"]).build().unwrap();
        let told = runtime.preview(&shop.version(Slot::Green, "1.0")).await.unwrap_err();
        assert_eq!(told.kind(), ErrorKind::Config);
        let told = told.to_string();
        assert!(told.contains(expected) && told.contains(".shared([\"db\"])"), "{service}: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_a_shared_redis_are_seen_by_both_slots() {
    needs_docker!();
    needs_data!();
    let shop = Shop::new(
        "
services:
  web: {image: 'IMAGES/web:${VERSION}', depends_on: [cache], networks: [back]}
  cache: {image: 'IMAGES/redis:7', container_name: SHOP-cache, networks: {back: {aliases: [store]}}, volumes: ['keys:/data']}
networks: {back: {}}
volumes: {keys: {}}
",
    );
    let text = std::fs::read_to_string(shop.path("compose.yaml")).unwrap().replace("SHOP", &shop.name);
    shop.write("compose.yaml", &text);
    let with = WithDatabase { shop };
    for version in ["1.0", "2.0"] {
        with.shop.images.make(&format!("web:{version}"), WAITS);
    }
    data_image(&with.shop.images, "redis:7", "exec redis-server --dir /data --protected-mode no --appendonly yes");
    let runtime = with.builder().shared(["cache"]).build().unwrap();
    let ask = |slot: Slot, host: &str, words: &[&str]| {
        let network = format!("container:{}", with.shop.container(slot, "web"));
        let image = with.shop.images.name("redis:7");
        let all = ["run", "--rm", "--network", &network, &image, "redis-cli", "-h", host];
        docker_ok(&[&all[..], words].concat())
    };
    for (slot, version) in Slot::BOTH.into_iter().zip(["1.0", "2.0"]) {
        let target = with.shop.version(slot, version);
        runtime.prepare(&target).await.unwrap();
        runtime.start(&target).await.unwrap();
    }
    assert_eq!(ask(Slot::Blue, "cache", &["incr", "orders"]), "1");
    assert_eq!(ask(Slot::Green, "store", &["incr", "orders"]), "2");
    runtime.stop(Slot::Blue, grace()).await.unwrap();
    assert_eq!(ask(Slot::Green, &format!("{}-cache", with.shop.name), &["incr", "orders"]), "3");
}
