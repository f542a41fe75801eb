//! The integration tests. They call the handler with events of API Gateway, and
//! run the built function as a process under the Lambda Runtime API. Both use the
//! SDK over HTTP with a DynamoDB engine.

mod accounts;
mod associate;
mod bad_requests;
mod changes;
mod clear;
mod concurrency;
mod credentials;
mod cursors;
mod dissociate;
mod docs;
mod faults;
mod hostile_tokens;
mod issuers;
mod jsonapi;
mod key_sets;
mod lambda_events;
mod late;
mod lists;
mod model;
mod openapi;
mod process;
mod properties;
mod races;
mod support;
mod template;
mod tombstones;
mod waits;
