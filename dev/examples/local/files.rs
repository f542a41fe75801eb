//! What is kept in the git-ignored folder `.local`, so that it survives a restart: data, keys, and for cargo-lambda the
//! function's environment and the sample events.

use std::fmt::Write as _;
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use dev::environment::Environment;

use crate::tokens::Tokens;

/// The customer in the samples of `events/`.
pub(crate) const SAMPLE_CUSTOMER: &str = "b3f2b6de-8fd4-4cdf-a9d9-c5f7cecccdfe";

pub(crate) const SAMPLE_ACCOUNT: &str = "f2f1b5a6-4c66-4a07-9d3c-2c1d38c1a1ac";

pub(crate) const SAMPLE_CART: &str = "3f7c1c9e-5d0b-4b57-9a52-7c1f3f0c8a11";

pub(crate) fn folder() -> Result<PathBuf> {
    let folder = dev::project().join(".local");
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("{} could not be created", folder.display()))?;
    Ok(folder)
}

/// Marks the folder as used until the file is dropped. Returns `None` if another program uses it.
pub(crate) fn lock(folder: &Path) -> Result<Option<File>> {
    let file = File::create(folder.join("lock"))?;
    let is_first = file.try_lock().is_ok();
    Ok(is_first.then_some(file))
}

/// Writes an environment to a file for `cargo lambda watch --env-file`.
pub(crate) fn write_environment(folder: &Path, environment: &Environment) -> Result<PathBuf> {
    let mut text = String::from("# Written by `make run` and `make dynamodb`.\n");
    for (name, value) in environment {
        // cargo-lambda and shells read text in single quotes as it is. cargo-lambda refuses JSON without quotes.
        writeln!(text, "{name}='{value}'")?;
    }
    let path = folder.join("env");
    std::fs::write(&path, text)
        .with_context(|| format!("{} could not be written", path.display()))?;
    Ok(path)
}

/// Writes the samples of `events/`, with valid tokens, to `events/` in this folder, for `cargo lambda invoke`.
pub(crate) fn write_samples(folder: &Path, tokens: &Tokens) -> Result<()> {
    let tokens = [
        ("CLIENT_CREDENTIALS_TOKEN", tokens.back_end()?),
        ("IMPLICIT_TOKEN", tokens.storefront()?),
        ("CUSTOMER_TOKEN", tokens.customer(SAMPLE_CUSTOMER)?),
        (
            "ACCOUNT_TOKEN",
            tokens.account(SAMPLE_ACCOUNT, SAMPLE_CUSTOMER)?,
        ),
        ("CART_TOKEN", tokens.cart(SAMPLE_CART)?),
    ];
    let copies = folder.join("events");
    std::fs::create_dir_all(&copies)?;
    for sample in std::fs::read_dir(dev::project().join("events"))? {
        let sample = sample?;
        let mut event = std::fs::read_to_string(sample.path())?;
        for (placeholder, token) in &tokens {
            event = event.replace(placeholder, token);
        }
        std::fs::write(copies.join(sample.file_name()), event)?;
    }
    Ok(())
}
