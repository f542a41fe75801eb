//! Cart–customer associations as a serverless API: one AWS Lambda behind API
//! Gateway that ties shopping carts to customers and accounts in DynamoDB, so that a
//! customer finds their carts on any device.
//!
//! # The path of a request
//!
//! ```text
//! gateway -> app -> auth (who acts for whom) -> one operation of api -> store
//! ```
//!
//! [`App::handle`](app::App::handle) shows it on one screen, and each file of
//! `api/` shows one operation. What the operations share is below them: the rules of
//! JSON:API in `jsonapi`, those of writes in [`store::rules`]. Each layer has its own
//! errors; [`error`] turns them into responses. Imports follow the flow.
//!
//! The modules below are in reading order.

pub mod gateway;

pub mod app;

pub mod auth;

pub mod api;
pub mod jsonapi;

pub mod cursor;

pub mod store;

pub mod error;

pub mod client;

pub mod config;

pub mod init_error;

pub mod ids;

mod json;

pub mod clock;

pub mod telemetry;
