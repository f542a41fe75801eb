//! Cart–customer associations as a serverless API: one AWS Lambda behind API
//! Gateway that ties shopping carts to customers in DynamoDB, so that a customer
//! finds their carts on any device.
//!
//! # The path of a request
//!
//! ```text
//! event -> request (parse) -> auth (who may) -> association (what to do) -> store -> response
//! ```
//!
//! [`App::handle`](app::App::handle) shows it on one screen. Each layer has its own
//! errors; [`fault`] is the table of the codes that callers see, and [`response`]
//! turns errors into documents. Layers import those before them, and `association`
//! imports `store`; only `app` imports `response`.
//!
//! The modules below are in reading order.

pub mod app;
pub mod request;

pub mod auth;

pub mod association;
pub mod cursor;

pub mod store;

pub mod response;

pub mod error;

pub mod fault;

pub mod client;

pub mod config;

pub mod init_error;

pub mod ids;

mod json;

pub mod clock;

pub mod telemetry;
