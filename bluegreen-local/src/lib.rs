//! Child-process runtime and embedded reverse proxy for blue-green deploys.
