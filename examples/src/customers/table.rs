//! The database, as the service uses it.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::stage::Stage;

/// How long a writer waits for another one: both slots and the migration write to one file.
const BUSY: Duration = Duration::from_secs(5);

/// Opens the database file.
///
/// # Errors
/// Those of SQLite.
pub fn open(file: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(file)?;
    connection.busy_timeout(BUSY)?;
    // Readers then never wait for a writer.
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "normal")?;
    Ok(connection)
}

/// The customers, as one version sees them.
#[derive(Debug)]
pub struct Customers {
    connection: Mutex<Connection>,
    stage: Stage,
}

impl Customers {
    /// Opens the database for a version.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn open(file: &Path, stage: Stage) -> rusqlite::Result<Self> {
        Ok(Self { connection: Mutex::new(open(file)?), stage })
    }

    /// The name of a customer.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn name(&self, id: i64) -> rusqlite::Result<Option<String>> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let query = if self.stage.reads_new() {
            "SELECT first_name || ' ' || last_name FROM people WHERE id = ?1"
        } else {
            "SELECT name FROM customers WHERE id = ?1"
        };
        connection.query_row(query, [id], |row| row.get(0)).optional()
    }

    /// Keeps the name of a customer, in one table or in both at once.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn keep(&self, id: i64, first_name: &str, last_name: &str) -> rusqlite::Result<()> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        // Takes its turn at the beginning: a transaction that reads first cannot wait for its turn later.
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if self.stage.writes_old() {
            let name = format!("{first_name} {last_name}");
            transaction.execute("INSERT OR REPLACE INTO customers (id, name) VALUES (?1, ?2)", (id, name))?;
        }
        if self.stage.writes_new() {
            let insert = "INSERT OR REPLACE INTO people (id, first_name, last_name) VALUES (?1, ?2, ?3)";
            transaction.execute(insert, (id, first_name, last_name))?;
        }
        transaction.commit()
    }
}
