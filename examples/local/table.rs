//! The table that `template.yaml` declares, made in any DynamoDB.
//!
//! The template is the one definition of the table: the local world and the integration tests make theirs from it, so
//! that neither can drift from what is deployed. This file is part of both; it uses the SDK and dev-dependencies only.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, GlobalSecondaryIndex, KeySchemaElement, Projection, TableStatus,
    TimeToLiveSpecification, TimeToLiveStatus,
};
use serde::Deserialize;

const TEMPLATE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/template.yaml"));

/// Makes the table under `table_name` and returns once it can be used. A table of that name that is there already is
/// left as it is.
///
/// # Errors
///
/// When the template declares no table that this file understands, or DynamoDB refuses it.
pub(crate) async fn create(client: &Client, table_name: &str) -> Result<()> {
    let table = declared_in(TEMPLATE)?;
    create_table(client, table_name, &table).await?;
    wait_until_active(client, table_name).await?;
    match &table.time_to_live_specification {
        Some(ttl) => enable_ttl(client, table_name, ttl).await,
        None => Ok(()),
    }
}

async fn create_table(client: &Client, table_name: &str, table: &Table) -> Result<()> {
    let created = client
        .create_table()
        .table_name(table_name)
        .billing_mode(table.billing_mode.as_str().into())
        .set_attribute_definitions(Some(table.attribute_definitions()?))
        .set_key_schema(Some(key_schema(&table.key_schema)?))
        .set_global_secondary_indexes(table.indexes()?)
        .send()
        .await;
    match created {
        Ok(_) => Ok(()),
        Err(error)
            if error
                .as_service_error()
                .is_some_and(|error| error.is_resource_in_use_exception()) =>
        {
            Ok(())
        }
        Err(error) => {
            Err(error).with_context(|| format!("the table {table_name} could not be made"))
        }
    }
}

async fn wait_until_active(client: &Client, table_name: &str) -> Result<()> {
    const ATTEMPTS: u32 = 300;
    const PAUSE: Duration = Duration::from_millis(100);
    for _ in 0..ATTEMPTS {
        let described = client.describe_table().table_name(table_name).send().await;
        let described =
            described.with_context(|| format!("the table {table_name} could not be read"))?;
        let status = described.table.and_then(|table| table.table_status);
        if status == Some(TableStatus::Active) {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
    anyhow::bail!("the table {table_name} did not become active in time")
}

/// DynamoDB refuses to enable what is enabled, hence the question first.
async fn enable_ttl(client: &Client, table_name: &str, ttl: &TimeToLive) -> Result<()> {
    let described = client
        .describe_time_to_live()
        .table_name(table_name)
        .send()
        .await;
    let status = described
        .with_context(|| format!("the TTL of {table_name} could not be read"))?
        .time_to_live_description
        .and_then(|ttl| ttl.time_to_live_status);
    let enabled = matches!(
        status,
        Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling)
    );
    if enabled == ttl.enabled {
        return Ok(());
    }
    let specification = TimeToLiveSpecification::builder()
        .attribute_name(&ttl.attribute_name)
        .enabled(ttl.enabled)
        .build()?;
    client
        .update_time_to_live()
        .table_name(table_name)
        .time_to_live_specification(specification)
        .send()
        .await
        .with_context(|| format!("the TTL of {table_name} could not be set"))?;
    Ok(())
}

/// The only `AWS::DynamoDB::GlobalTable` of a template.
///
/// CloudFormation's tags (`!Ref`, `!Sub`, …) are read past: they may stand anywhere in the template, but what is read
/// of the table must be written out.
fn declared_in(template: &str) -> Result<Table> {
    let template: Template =
        serde_saphyr::from_str(template).context("template.yaml cannot be read")?;
    let mut tables = template
        .resources
        .into_values()
        .filter(|resource| resource.kind == "AWS::DynamoDB::GlobalTable");
    let table = tables
        .next()
        .context("template.yaml declares no AWS::DynamoDB::GlobalTable")?;
    ensure!(
        tables.next().is_none(),
        "template.yaml declares more than one AWS::DynamoDB::GlobalTable"
    );
    serde_json::from_value(table.properties)
        .context("the AWS::DynamoDB::GlobalTable of template.yaml cannot be read")
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Template {
    resources: BTreeMap<String, Resource>,
}

#[derive(Deserialize)]
struct Resource {
    #[serde(rename = "Type")]
    kind: String,
    #[serde(rename = "Properties", default)]
    properties: serde_json::Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Table {
    attribute_definitions: Vec<Attribute>,
    billing_mode: String,
    #[serde(default)]
    global_secondary_indexes: Vec<Index>,
    key_schema: Vec<Key>,
    time_to_live_specification: Option<TimeToLive>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Attribute {
    attribute_name: String,
    attribute_type: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Key {
    attribute_name: String,
    key_type: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Index {
    index_name: String,
    key_schema: Vec<Key>,
    projection: IndexProjection,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct IndexProjection {
    projection_type: String,
    non_key_attributes: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TimeToLive {
    attribute_name: String,
    enabled: bool,
}

impl Table {
    fn attribute_definitions(&self) -> Result<Vec<AttributeDefinition>> {
        let definition = |attribute: &Attribute| {
            Ok(AttributeDefinition::builder()
                .attribute_name(&attribute.attribute_name)
                .attribute_type(attribute.attribute_type.as_str().into())
                .build()?)
        };
        self.attribute_definitions.iter().map(definition).collect()
    }

    /// `None` for a table without an index: DynamoDB refuses an empty list.
    fn indexes(&self) -> Result<Option<Vec<GlobalSecondaryIndex>>> {
        if self.global_secondary_indexes.is_empty() {
            return Ok(None);
        }
        let index = |index: &Index| {
            let projection = Projection::builder()
                .projection_type(index.projection.projection_type.as_str().into())
                .set_non_key_attributes(index.projection.non_key_attributes.clone());
            Ok(GlobalSecondaryIndex::builder()
                .index_name(&index.index_name)
                .set_key_schema(Some(key_schema(&index.key_schema)?))
                .projection(projection.build())
                .build()?)
        };
        self.global_secondary_indexes
            .iter()
            .map(index)
            .collect::<Result<_>>()
            .map(Some)
    }
}

fn key_schema(keys: &[Key]) -> Result<Vec<KeySchemaElement>> {
    let element = |key: &Key| {
        Ok(KeySchemaElement::builder()
            .attribute_name(&key.attribute_name)
            .key_type(key.key_type.as_str().into())
            .build()?)
    };
    keys.iter().map(element).collect()
}
