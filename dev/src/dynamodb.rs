//! The embedded DynamoDB, and the table that `template.yaml` declares.
//!
//! A resource's properties in CloudFormation are named as in DynamoDB's API, so the table is created from the template as
//! it is written there.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use axum::body::Bytes;
use axum::http::{Request, StatusCode};
use dynoxide::Database;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::template::Template;

/// An embedded DynamoDB on a thread of its own, which runs until the program ends.
pub struct Emulator {
    /// Its URL.
    pub endpoint: String,
}

impl Emulator {
    /// Starts an emulator on a free port that keeps its data in memory.
    pub fn in_memory() -> Result<Self> {
        let database = Database::memory();
        let database = database.map_err(|error| anyhow!("no database in memory: {error}"))?;
        Self::start(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?, database)
    }

    /// Starts an emulator that keeps its data in `file`, on a free port of a random loopback address: web pages may call it
    /// where they find it.
    pub fn with_file(file: &Path) -> Result<Self> {
        let [first, second, ..] = Uuid::new_v4().into_bytes();
        let listener = TcpListener::bind((Ipv4Addr::new(127, first, second, 1), 0))?;
        let database = Database::new(&file.to_string_lossy())
            .map_err(|error| anyhow!("{} could not be opened: {error}", file.display()))?;
        Self::start(listener, database)
    }

    fn start(listener: TcpListener, database: Database) -> Result<Self> {
        let endpoint = format!("http://{}", listener.local_addr()?);
        listener.set_nonblocking(true)?;
        // Not the caller's runtime: a test's runtime ends with the test.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        std::thread::spawn(move || {
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener);
                let listener = listener.expect("the runtime has I/O enabled");
                dynoxide::server::serve_on(listener, database).await;
            });
        });
        Ok(Self { endpoint })
    }
}

/// A client of an emulator. It signs nothing, so AWS would refuse its calls.
pub struct Client {
    endpoint: String,
    http: HttpClient<HttpConnector, Full<Bytes>>,
}

impl Client {
    /// A client of the emulator at this URL.
    pub fn new(endpoint: &str) -> Self {
        Self {
            endpoint: endpoint.to_owned(),
            http: HttpClient::builder(TokioExecutor::new()).build_http(),
        }
    }

    /// Creates the table of `template.yaml` under this name and returns once it can be used. An existing table of that
    /// name is kept, and gets the indexes that it lacks.
    pub async fn create_table(&self, name: &str) -> Result<()> {
        let template = Template::read();
        let tables = template.of_type("AWS::DynamoDB::GlobalTable");
        let &[(_, properties)] = tables.as_slice() else {
            bail!("template.yaml declares {} tables, not one", tables.len());
        };
        let input = create_table(name, properties);
        match self.describe(name).await {
            Ok(table) => self.add_indexes(name, &table, &input).await?,
            Err(_) => {
                let created = self.call("CreateTable", &input).await;
                created.with_context(|| format!("the table {name} could not be created"))?;
            }
        }
        self.wait_until_active(name).await?;
        let ttl = &properties["TimeToLiveSpecification"];
        if ttl["Enabled"] == true {
            self.enable_ttl(name, ttl).await?;
        }
        Ok(())
    }

    /// Adds the indexes that a table lacks, one at a time, as DynamoDB requires.
    async fn add_indexes(&self, name: &str, table: &Value, input: &Value) -> Result<()> {
        let indexes = |table: &Value| table["GlobalSecondaryIndexes"].as_array().cloned();
        let existing = indexes(table).unwrap_or_default();
        for index in indexes(input).unwrap_or_default() {
            let is_same = |other: &Value| other["IndexName"] == index["IndexName"];
            if existing.iter().any(is_same) {
                continue;
            }
            let update = json!({
                "TableName": name,
                "AttributeDefinitions": input["AttributeDefinitions"],
                "GlobalSecondaryIndexUpdates": [{ "Create": index }],
            });
            self.call("UpdateTable", &update).await?;
            self.wait_until_active(name).await?;
        }
        Ok(())
    }

    /// Turns a table's stream on, if it is off, as `template.yaml` does for events. Returns its ARN.
    pub async fn enable_stream(&self, name: &str) -> Result<String> {
        let mut table = self.describe(name).await?;
        if table["StreamSpecification"]["StreamEnabled"] != true {
            let template = Template::read();
            let (_, properties) = template.of_type("AWS::DynamoDB::GlobalTable")[0];
            // `!If [HasStream, {…}, …]`
            let mut specification = properties["StreamSpecification"][1].clone();
            specification["StreamEnabled"] = json!(true);
            let input = json!({ "TableName": name, "StreamSpecification": specification });
            self.call("UpdateTable", &input).await?;
            self.wait_until_active(name).await?;
            table = self.describe(name).await?;
        }
        let arn = table["LatestStreamArn"].as_str();
        Ok(arn.context("a table without a stream")?.to_owned())
    }

    /// Returns a position in a stream behind its newest record. The embedded DynamoDB has one shard for a table.
    pub async fn end_of_stream(&self, arn: &str) -> Result<Value> {
        let stream = json!({ "StreamArn": arn });
        let described = self.call_streams("DescribeStream", &stream).await?;
        let shard = &described["StreamDescription"]["Shards"][0]["ShardId"];
        let input = json!({ "StreamArn": arn, "ShardId": shard, "ShardIteratorType": "LATEST" });
        let mut found = self.call_streams("GetShardIterator", &input).await?;
        Ok(found["ShardIterator"].take())
    }

    /// Returns the records from a position on, if there are any, and moves the position behind them.
    pub async fn records(&self, position: &mut Value) -> Result<Vec<Value>> {
        let input = json!({ "ShardIterator": position });
        let mut page = self.call_streams("GetRecords", &input).await?;
        *position = page["NextShardIterator"].take();
        match page["Records"].take() {
            Value::Array(records) => Ok(records),
            _ => bail!("a page without records"),
        }
    }

    async fn describe(&self, name: &str) -> Result<Value> {
        let table = json!({ "TableName": name });
        Ok(self.call("DescribeTable", &table).await?["Table"].take())
    }

    async fn wait_until_active(&self, name: &str) -> Result<()> {
        const ATTEMPTS: u32 = 300;
        const PAUSE: Duration = Duration::from_millis(100);
        for _ in 0..ATTEMPTS {
            if self.describe(name).await?["TableStatus"] == "ACTIVE" {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
        bail!("the table {name} did not become active in time")
    }

    /// DynamoDB refuses to enable the TTL of a table that has it already, hence the question first.
    async fn enable_ttl(&self, name: &str, specification: &Value) -> Result<()> {
        let table = json!({ "TableName": name });
        let described = self.call("DescribeTimeToLive", &table).await?;
        let status = &described["TimeToLiveDescription"]["TimeToLiveStatus"];
        if status == "ENABLED" || status == "ENABLING" {
            return Ok(());
        }
        let input = json!({ "TableName": name, "TimeToLiveSpecification": specification });
        self.call("UpdateTimeToLive", &input).await?;
        Ok(())
    }

    /// The partition keys of a table's items.
    pub async fn keys(&self, table: &str) -> Result<BTreeSet<String>> {
        let mut input = json!({
            "TableName": table,
            "ProjectionExpression": "id",
            "ConsistentRead": true,
        });
        let mut keys = BTreeSet::new();
        loop {
            let page = self.call("Scan", &input).await?;
            for item in page["Items"].as_array().context("a page without items")? {
                let key = item["id"]["S"].as_str().context("an item without a key")?;
                keys.insert(key.to_owned());
            }
            match page.get("LastEvaluatedKey") {
                None | Some(Value::Null) => return Ok(keys),
                Some(last) => input["ExclusiveStartKey"] = last.clone(),
            }
        }
    }

    async fn call(&self, operation: &str, input: &Value) -> Result<Value> {
        self.call_target(&format!("DynamoDB_20120810.{operation}"), input)
            .await
    }

    async fn call_streams(&self, operation: &str, input: &Value) -> Result<Value> {
        self.call_target(&format!("DynamoDBStreams_20120810.{operation}"), input)
            .await
    }

    async fn call_target(&self, target: &str, input: &Value) -> Result<Value> {
        let (status, output) = self.send(target, input.to_string().into()).await?;
        let output: Value = serde_json::from_slice(&output)
            .with_context(|| format!("{target} was answered with {status} and no JSON"))?;
        ensure!(status.is_success(), "{target} was refused: {output}");
        Ok(output)
    }

    /// Sends a body as it is and returns the status and the body of the answer. `target` is the value of `x-amz-target`.
    pub async fn send(&self, target: &str, body: Bytes) -> Result<(StatusCode, Bytes)> {
        const AUTHORIZATION: &str = "AWS4-HMAC-SHA256 \
            Credential=local/20261122/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0";
        let request = Request::post(&self.endpoint)
            .header("x-amz-target", target)
            .header("content-type", "application/x-amz-json-1.0")
            .header("authorization", AUTHORIZATION)
            .header("x-amz-date", "20261122T120000Z")
            .body(Full::from(body))?;
        let response = self.http.request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        Ok((status, body))
    }
}

/// The input of `CreateTable`. The other properties of the template are for AWS only, such as backups and alarms.
fn create_table(name: &str, properties: &Value) -> Value {
    let indexes = properties["GlobalSecondaryIndexes"].as_array();
    let indexes: Vec<Value> = indexes
        .into_iter()
        .flatten()
        // `!If [HasBothAccountIndexes, {…}, …]`
        .map(|index| if index.is_array() { &index[1] } else { index })
        .map(|index| only(index, &["IndexName", "KeySchema", "Projection"]))
        .collect();
    let mut input = only(
        properties,
        &["AttributeDefinitions", "BillingMode", "KeySchema"],
    );
    input["TableName"] = json!(name);
    input["GlobalSecondaryIndexes"] = json!(indexes);
    input
}

/// An object with these members of another.
fn only(object: &Value, names: &[&str]) -> Value {
    names
        .iter()
        .map(|name| ((*name).to_owned(), object[name].clone()))
        .collect()
}
