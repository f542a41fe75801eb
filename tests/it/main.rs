//! The integration tests: the handler called with API Gateway's events, and the
//! built Lambda as a process under the Lambda Runtime API, both with the real
//! SDK over HTTP to a real engine.

mod associate;
mod bad_requests;
mod clear;
mod credentials;
mod dissociate;
mod docs;
mod events;
mod faults;
mod hostile_tokens;
mod json_api;
mod key_sets;
mod late;
mod lists;
mod model;
mod openapi;
mod process;
mod properties;
mod races;
mod seen_tokens;
mod support;
mod template;
mod tombstones;
mod watching;
