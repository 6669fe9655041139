//! Addresses that really move, between servers in network namespaces.

mod conformance;
mod faults;
mod moves;
mod owners;
mod rights;
