//! The rules of JSON:API 1.1: media types, query, body, documents. Nothing of carts.

pub mod body;
pub(crate) mod documents;
pub(crate) mod media_type;
pub mod query;
