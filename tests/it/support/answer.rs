//! The function's answer, and assertions on it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::linkage;

/// An answer as API Gateway receives it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u64,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Option<String>,
}

impl Answer {
    /// Reads an answer. Its description says what it must have.
    pub(crate) fn read(response: &Value) -> Self {
        let answer = Self {
            status: response["statusCode"].as_u64().unwrap(),
            headers: serde_json::from_value(response["headers"].clone()).unwrap(),
            body: serde_json::from_value(response["body"].clone()).unwrap(),
        };
        assert_eq!(response["isBase64Encoded"], json!(false));
        let has_type = answer.header("content-type").is_some();
        assert_eq!(answer.body.is_some(), has_type, "{answer:?}");
        if answer.status >= 400 {
            let status = json!(answer.status.to_string());
            let mut statuses = answer.errors("status").into_iter();
            assert!(statuses.all(|other| other == status), "{answer:?}");
        }
        answer
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    pub(crate) fn document(&self) -> Value {
        serde_json::from_str(self.body.as_deref().unwrap()).unwrap()
    }

    /// Asserts a 200 with these customers: at least one association is new.
    pub(crate) fn created(&self, customers: &[&str]) {
        assert_eq!(self.status, 200, "{self:?}");
        assert_eq!(self.document(), linkage(customers));
    }

    /// Asserts a 204: no association is new.
    pub(crate) fn unchanged(&self) {
        assert_eq!(self.status, 204, "{self:?}");
    }

    /// Asserts exactly one error, with this status and code. Returns its `source`.
    pub(crate) fn refused(&self, status: u64, code: &str) -> Value {
        let expected = (status, vec![code.to_owned()]);
        assert_eq!((self.status, self.codes()), expected, "{self:?}");
        self.document()["errors"][0]["source"].clone()
    }

    /// The codes of all errors, in order.
    pub(crate) fn codes(&self) -> Vec<String> {
        let text = |code: &Value| code.as_str().unwrap().to_owned();
        self.errors("code").iter().map(text).collect()
    }

    /// The member `name` of each error, in order.
    pub(crate) fn errors(&self, name: &str) -> Vec<Value> {
        let document = self.document();
        let errors = document["errors"].as_array().unwrap();
        errors.iter().map(|error| error[name].clone()).collect()
    }

    /// Asserts a page of a list. Returns the ids of its members and the link to the
    /// next page.
    pub(crate) fn listed(&self, member_type: &str) -> (Vec<String>, Option<String>) {
        assert_eq!(self.status, 200, "{self:?}");
        let document = self.document();
        let limit = document["meta"]["page"]["limit"].as_u64().unwrap();
        let members = document["data"].as_array().unwrap();
        assert!(members.len() as u64 <= limit, "{document}");
        let id = |member: &Value| {
            assert_eq!(member["type"], json!(member_type));
            member["id"].as_str().unwrap().to_owned()
        };
        let next = document["links"].get("next");
        let next = next.map(|next| next.as_str().unwrap().to_owned());
        (members.iter().map(id).collect(), next)
    }
}
