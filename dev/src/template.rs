//! `template.yaml` and the templates in `deploy/`, read with a parser. Of CloudFormation's tags only the value is left:
//! `!Ref Api` reads as "Api", `!If [A, b, c]` as a list.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::{Map, Value};

pub struct Template(Value);

/// `CorsConfiguration` without the origins, which each deployment sets.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Cors {
    pub allow_methods: Vec<String>,
    pub allow_headers: Vec<String>,
    pub expose_headers: Vec<String>,
    /// For how many seconds a browser may cache this.
    pub max_age: u32,
}

impl Template {
    pub fn read() -> Self {
        Self::parse(include_str!("../../template.yaml"))
    }

    pub fn events() -> Self {
        Self::parse(include_str!("../../deploy/events.yaml"))
    }

    pub fn watching() -> Self {
        Self::parse(include_str!("../../deploy/watching.yaml"))
    }

    fn parse(text: &str) -> Self {
        Self(serde_saphyr::from_str(text).expect("a template is YAML"))
    }

    pub fn section(&self, name: &str) -> &Map<String, Value> {
        let section = self.0[name].as_object();
        section.expect("a template has this section")
    }

    /// The properties of a resource; null if there is none of this name.
    pub fn properties(&self, name: &str) -> &Value {
        &self.0["Resources"][name]["Properties"]
    }

    /// The names and the properties of all resources of a type.
    pub fn of_type(&self, kind: &str) -> Vec<(&str, &Value)> {
        self.section("Resources")
            .iter()
            .filter(|(_, resource)| resource["Type"] == kind)
            .map(|(name, resource)| (name.as_str(), &resource["Properties"]))
            .collect()
    }

    /// The paths of the HTTP API's routes, such as `/v2/carts/{cartId}/relationships/customers`.
    pub fn paths(&self) -> BTreeSet<&str> {
        let routes = self.of_type("AWS::ApiGatewayV2::Route");
        routes
            .into_iter()
            .filter_map(|(_, route)| route["RouteKey"].as_str()?.split_once(' '))
            .map(|(_method, path)| path)
            .collect()
    }
}

impl Cors {
    pub fn declared() -> Result<Self> {
        let template = Template::read();
        Self::deserialize(&template.properties("Api")["CorsConfiguration"])
            .context("the CorsConfiguration of template.yaml cannot be read")
    }
}
