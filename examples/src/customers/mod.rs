//! A service with a database that its versions share, and a change of that database that no version can live with at
//! once: `customers(id, name)` becomes `people(id, first_name, last_name)`.

pub mod clients;
pub mod migration;
pub mod service;
pub mod stage;
pub mod table;
