//! Cart–customer associations as a serverless API: one AWS Lambda behind API
//! Gateway that ties shopping carts to customers in DynamoDB, so that a customer
//! finds their carts on any device.
//!
//! # The way of a request
//!
//! ```text
//! event -> request (parse) -> auth (who may) -> association (what to do) -> store -> response
//! ```
//!
//! It goes in one direction, and [`App::handle`](app::App::handle) shows it on one screen. Each
//! layer has errors of its own, and they become HTTP once, in [`response`].
//!
//! # Layout, in reading order

pub mod app;
pub mod request;

pub mod auth;

pub mod association;
pub mod cursor;

pub mod store;

pub mod response;

pub mod error;

pub mod http;

pub mod config;

pub mod init_error;

pub mod ids;

pub mod clock;

pub mod telemetry;
