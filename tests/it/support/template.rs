//! `template.yaml`, read with a parser. Of CloudFormation's tags the value
//! alone is left: `!Ref Api` reads as "Api", `!If [A, b, c]` as a list.

use serde_json::Value;

/// The template.
pub(crate) struct Template(Value);

impl Template {
    pub(crate) fn read() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/template.yaml");
        let text = std::fs::read_to_string(path).unwrap();
        Self(serde_saphyr::from_str(&text).unwrap())
    }

    /// A member of the template itself.
    pub(crate) fn section(&self, name: &str) -> &serde_json::Map<String, Value> {
        self.0[name].as_object().unwrap()
    }

    /// The properties of a resource.
    pub(crate) fn properties(&self, name: &str) -> &Value {
        &self.0["Resources"][name]["Properties"]
    }

    /// The names of the resources of a type, and their properties.
    pub(crate) fn of_type(&self, kind: &str) -> Vec<(&str, &Value)> {
        self.section("Resources")
            .iter()
            .filter(|(_, resource)| resource["Type"] == kind)
            .map(|(name, resource)| (name.as_str(), &resource["Properties"]))
            .collect()
    }
}
