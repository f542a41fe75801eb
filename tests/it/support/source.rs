//! What the code in `src/` says, read with a parser: which operations of
//! DynamoDB it can send, which variables and headers it asks for. Code that is
//! for tests only is left out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};
use syn::{Expr, ExprCall, ExprField, ExprMethodCall, ExprPath, FieldValue, ItemFn, ItemImpl};
use syn::{ItemMod, ItemUse, Lit, Member, UseTree};

/// The SDK's crate.
const SDK: &str = "aws_sdk_dynamodb";

/// Some files of `src/`, by their paths.
pub(crate) struct Source {
    files: BTreeMap<String, syn::File>,
}

/// What is found in source.
#[derive(Default)]
pub(crate) struct Findings {
    /// Methods that are called on something named `client`.
    pub(crate) client_calls: BTreeSet<String>,
    /// How often something named `client` is used for anything else.
    pub(crate) other_client_uses: usize,
    /// Paths into the SDK that are imported or written out, without the crate.
    pub(crate) sdk_paths: BTreeSet<String>,
    /// Types of the SDK, by the names that they have there, whose `builder` is
    /// called.
    pub(crate) builders: BTreeSet<String>,
    /// Variables that are looked up by a name which stands there.
    pub(crate) variables: BTreeSet<String>,
    /// How often the environment is read by a name that does not stand there.
    pub(crate) other_variables: usize,
    /// Headers that are asked for.
    pub(crate) headers: BTreeSet<String>,
    /// All texts.
    pub(crate) texts: BTreeSet<String>,
    aliases: BTreeMap<String, String>,
}

impl Source {
    /// All of `src/`.
    pub(crate) fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut folders = vec![root.clone()];
        let mut files = BTreeMap::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path: PathBuf = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    let text = std::fs::read_to_string(&path).unwrap();
                    let name = path.strip_prefix(&root).unwrap().to_str().unwrap();
                    files.insert(name.to_owned(), syn::parse_file(&text).unwrap());
                }
            }
        }
        Self { files }
    }

    /// Those files whose paths are such.
    pub(crate) fn only(mut self, such: impl Fn(&str) -> bool) -> Self {
        self.files.retain(|path, _| such(path));
        assert!(!self.files.is_empty());
        self
    }

    /// The files that may talk to DynamoDB.
    pub(crate) fn store() -> Self {
        Self::read().only(is_store)
    }

    /// The files that may not.
    pub(crate) fn beside_the_store() -> Self {
        Self::read().only(|path| !is_store(path))
    }

    /// What is found in all of it.
    pub(crate) fn findings(&self) -> Findings {
        let mut findings = Findings::default();
        for file in self.files.values() {
            // An import counts in its file only.
            findings.aliases.clear();
            findings.visit_file(file);
        }
        findings
    }

    /// What is found in the functions of this name.
    pub(crate) fn findings_of_function(&self, name: &str) -> Findings {
        struct Named<'a> {
            name: &'a str,
            findings: Findings,
        }
        impl<'ast> Visit<'ast> for Named<'_> {
            fn visit_item_fn(&mut self, function: &'ast ItemFn) {
                if function.sig.ident == self.name {
                    self.findings.visit_block(&function.block);
                }
            }

            fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
                if function.sig.ident == self.name {
                    self.findings.visit_block(&function.block);
                }
            }
        }
        let findings = Findings::default();
        let mut named = Named { name, findings };
        for file in self.files.values() {
            named.visit_file(file);
        }
        named.findings
    }

    /// The texts in a method of a type.
    pub(crate) fn texts_of_method(&self, of: &str, name: &str) -> BTreeSet<String> {
        struct Method<'a>(&'a str, &'a str, Findings);
        impl<'ast> Visit<'ast> for Method<'_> {
            fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
                let is_type = matches!(&*item.self_ty, syn::Type::Path(path)
                    if path.path.segments.last().is_some_and(|last| last.ident == self.0));
                for item in item.items.iter().filter(|_| is_type) {
                    if let syn::ImplItem::Fn(function) = item
                        && function.sig.ident == self.1
                    {
                        self.2.visit_block(&function.block);
                    }
                }
            }
        }
        let mut method = Method(of, name, Findings::default());
        for file in self.files.values() {
            method.visit_file(file);
        }
        method.2.texts
    }
}

fn is_store(path: &str) -> bool {
    path == "store.rs" || path.starts_with("store/")
}

impl Findings {
    /// The operations of DynamoDB that are called, by DynamoDB's names.
    pub(crate) fn operations(&self) -> BTreeSet<String> {
        let pascal_case = |method: &String| {
            let words = method.split('_');
            words
                .map(|word| word[..1].to_uppercase() + &word[1..])
                .collect()
        };
        self.client_calls.iter().map(pascal_case).collect()
    }

    /// Notes what a `use` brings in of the SDK, and under which name.
    fn import(&mut self, tree: &UseTree, path: &mut Vec<String>) {
        match tree {
            UseTree::Path(segment) => {
                path.push(segment.ident.to_string());
                self.import(&segment.tree, path);
                path.pop();
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.import(tree, path);
                }
            }
            UseTree::Name(name) => self.imported(path, &name.ident, &name.ident),
            UseTree::Rename(name) => self.imported(path, &name.ident, &name.rename),
            UseTree::Glob(_) => {
                assert_ne!(path.first().map(String::as_str), Some(SDK), "{path:?}");
            }
        }
    }

    fn imported(&mut self, path: &[String], name: &syn::Ident, alias: &syn::Ident) {
        if let Some((first, rest)) = path.split_first()
            && first == SDK
        {
            let full = format!("{}::{name}", rest.join("::"));
            let full = full.trim_start_matches("::").to_owned();
            self.sdk_paths.insert(full.clone());
            self.aliases.insert(alias.to_string(), full);
        }
    }
}

fn is_client(expression: &Expr) -> bool {
    match expression {
        Expr::Field(field) => matches!(&field.member, Member::Named(name) if name == "client"),
        Expr::Path(path) => path.path.is_ident("client"),
        _ => false,
    }
}

fn text(expression: Option<&Expr>) -> Option<String> {
    match expression {
        Some(Expr::Lit(literal)) => match &literal.lit {
            Lit::Str(text) => Some(text.value()),
            _ => None,
        },
        _ => None,
    }
}

impl<'ast> Visit<'ast> for Findings {
    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        let is_test = module.attrs.iter().any(|attribute| {
            attribute.path().is_ident("cfg")
                && attribute
                    .parse_args::<syn::Ident>()
                    .is_ok_and(|name| name == "test")
        });
        if !is_test {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.import(&item.tree, &mut Vec::new());
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let mut segments = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string());
        if segments.next().as_deref() == Some(SDK) {
            let rest: Vec<String> = segments.collect();
            self.sdk_paths.insert(rest.join("::"));
        }
        visit::visit_path(self, path);
    }

    fn visit_expr_field(&mut self, field: &'ast ExprField) {
        // Those that a method is called on do not come here.
        if matches!(&field.member, Member::Named(name) if name == "client") {
            self.other_client_uses += 1;
        }
        visit::visit_expr_field(self, field);
    }

    fn visit_expr_path(&mut self, path: &'ast ExprPath) {
        if path.path.is_ident("client") {
            self.other_client_uses += 1;
        }
        visit::visit_expr_path(self, path);
    }

    fn visit_field_value(&mut self, field: &'ast FieldValue) {
        // `Self { client, … }` makes the field, and is no use of it.
        if field.colon_token.is_some() {
            visit::visit_field_value(self, field);
        }
    }

    fn visit_expr_method_call(&mut self, call: &'ast ExprMethodCall) {
        if is_client(&call.receiver) {
            self.client_calls.insert(call.method.to_string());
            for argument in &call.args {
                self.visit_expr(argument);
            }
            return;
        }
        if call.method == "header" {
            self.headers.extend(text(call.args.first()));
        }
        visit::visit_expr_method_call(self, call);
    }

    fn visit_expr_call(&mut self, call: &'ast ExprCall) {
        if let Expr::Path(function) = &*call.func {
            let names: Vec<String> = function
                .path
                .segments
                .iter()
                .map(|segment| segment.ident.to_string())
                .collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            match names.as_slice() {
                [.., of, "builder"] => {
                    self.builders.extend(self.aliases.get(*of).cloned());
                }
                ["lookup"] | [.., "env", "var" | "var_os"] => match text(call.args.first()) {
                    Some(name) => {
                        self.variables.insert(name);
                    }
                    None => self.other_variables += 1,
                },
                _ => {}
            }
        }
        visit::visit_expr_call(self, call);
    }

    fn visit_lit_str(&mut self, text: &'ast syn::LitStr) {
        self.texts.insert(text.value());
    }
}
