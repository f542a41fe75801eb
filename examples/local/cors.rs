//! What pages may send and read, as `template.yaml` tells API Gateway.
//!
//! The template is the one definition of it: the local gateway does as it says, and the integration tests compare it with
//! what the API is described to take and to give. This file is part of both.

use anyhow::{Context as _, Result};
use serde::Deserialize;

const TEMPLATE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/template.yaml"));

/// `CorsConfiguration`, but for the origins, which a deployment sets.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Cors {
    pub(crate) allow_methods: Vec<String>,
    pub(crate) allow_headers: Vec<String>,
    pub(crate) expose_headers: Vec<String>,
    pub(crate) max_age: u32,
}

impl Cors {
    /// # Errors
    ///
    /// When the template declares none that this file understands.
    pub(crate) fn declared() -> Result<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Template {
            resources: Resources,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Resources {
            api: Api,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Api {
            properties: Properties,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Properties {
            cors_configuration: Cors,
        }
        let template: Template =
            serde_saphyr::from_str(TEMPLATE).context("the template's CORS is not understood")?;
        Ok(template.resources.api.properties.cors_configuration)
    }
}
