//! What an image is known to be, by its name.

/// Images that keep data in a directory which one process alone may have open.
const DATABASES: &[&str] = &[
    "arangodb",
    "cassandra",
    "clickhouse",
    "cockroach",
    "couchbase",
    "couchdb",
    "elasticsearch",
    "etcd",
    "influxdb",
    "kafka",
    "mariadb",
    "meilisearch",
    "minio",
    "mongo",
    "mssql",
    "mysql",
    "neo4j",
    "opensearch",
    "percona",
    "pgvector",
    "postgis",
    "postgres",
    "qdrant",
    "rabbitmq",
    "rethinkdb",
    "scylla",
    "surrealdb",
    "timescaledb",
    "typesense",
    "weaviate",
    "zookeeper",
];

/// Images that may begin empty, but not with the data of another one that runs.
const CACHES: &[&str] = &["dragonfly", "keydb", "memcached", "redis", "valkey"];

/// Words in the names of images that are of a database and are none.
const BESIDE: &[&str] = &[
    "exporter",
    "express",
    "admin",
    "backup",
    "client",
    "proxy",
    "bouncer",
    "commander",
    "insight",
    "-ui",
    "ui-",
    "console",
];

pub(super) fn is_database(image: &str) -> bool {
    is_one_of(image, DATABASES)
}

pub(super) fn is_cache(image: &str) -> bool {
    is_one_of(image, CACHES)
}

fn is_one_of(image: &str, words: &[&str]) -> bool {
    let without_digest = image.split('@').next().unwrap_or_default();
    // What follows a colon before the last slash is the registry's port.
    let path =
        without_digest.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).map_or(without_digest, |(path, _)| path);
    let name = path.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    // `mcr.microsoft.com/mssql/server`, `minio/mc`
    let full = if name == "server" { path.to_ascii_lowercase() } else { name };
    words.iter().any(|word| full.contains(word)) && !BESIDE.iter().any(|word| full.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_are_known_in_any_registry_and_what_is_beside_them_is_none() {
        for image in [
            "postgres:16",
            "docker.io/bitnami/postgresql:15@sha256:aa",
            "registry:5000/postgis/postgis",
            "timescale/timescaledb-ha:pg16",
            "mcr.microsoft.com/mssql/server:2022-latest",
            "mongo",
        ] {
            assert!(is_database(image), "{image}");
        }
        for image in [
            "postgres-exporter",
            "mongo-express:1",
            "phpmyadmin",
            "minio/console",
            "shop/postgres/web:1",
            "dpage/pgadmin4",
        ] {
            assert!(!is_database(image), "{image}");
        }
        assert!(is_cache("valkey/valkey:8") && !is_cache("redis-commander") && !is_database("redis:7"));
    }
}
