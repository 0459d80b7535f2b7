//! Reads the modules of a crate from its sources: what each file imports, and whose traits it implements. Test code
//! is left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use syn::visit::{self, Visit};
use syn::{Attribute, ItemImpl, ItemMod, ItemUse, Macro, PathArguments, Type, UseTree};

use crate::{root, rust_files};

/// The path of a module within its crate: `check::http` is `["check", "http"]`, the root is empty.
pub(crate) type ModulePath = Vec<String>;

/// The modules of one crate.
#[derive(Default)]
pub(crate) struct Crate {
    modules: BTreeMap<ModulePath, Module>,
}

/// What one file contains.
#[derive(Default)]
pub(crate) struct Module {
    /// Every path that the file names with `use`, `crate::`, `self::` or `super::`.
    references: Vec<Reference>,
    /// The names that `use` binds.
    imports: BTreeMap<String, Reference>,
    /// Types and traits that the file defines.
    defined: BTreeSet<String>,
    impls: Vec<Impl>,
    /// The modules that are declared under `#[cfg(test)]`.
    tests: Vec<ModulePath>,
}

/// A path and the module that contains it, which may be an inline module of the file.
#[derive(Clone, Debug)]
struct Reference {
    base: ModulePath,
    path: Vec<String>,
}

/// An `impl` for a type.
struct Impl {
    /// None for the methods of the type itself.
    of_trait: Option<Vec<String>>,
    /// The types that the trait is generic over.
    arguments: Vec<Vec<String>>,
    of_type: Vec<String>,
}

/// One module uses another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arrow {
    pub(crate) from: ModulePath,
    pub(crate) to: ModulePath,
}

impl Crate {
    /// Reads the crate whose sources are in a folder of the repository.
    pub(crate) fn of(folder: &str) -> Crate {
        let folder = root().join(folder);
        // The program uses the library as another crate does.
        let paths = rust_files(&folder).into_iter().filter(|path| !path.ends_with("main.rs"));
        let files = paths.map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            (path.strip_prefix(&folder).unwrap().to_owned(), text)
        });
        let files: Vec<_> = files.collect();
        Crate::read(files.iter().map(|(path, text)| (path.as_path(), text.as_str())))
    }

    /// Reads the files of a crate, each with its path below `src`.
    pub(crate) fn read<'a>(files: impl IntoIterator<Item = (&'a Path, &'a str)>) -> Crate {
        let mut modules = BTreeMap::new();
        for (path, text) in files {
            let file = syn::parse_file(text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let own = module_path(path);
            let mut reader = Reader { at: own.clone(), module: Module::default() };
            reader.visit_file(&file);
            modules.insert(own, reader.module);
        }
        let tests: Vec<ModulePath> = modules.values().flat_map(|module| module.tests.clone()).collect();
        modules.retain(|path, _| !tests.iter().any(|test| path.starts_with(test)));
        Crate { modules }
    }

    /// Whether a file below the folder of the crate is a module of it, and not test code.
    pub(crate) fn contains(&self, file: &Path) -> bool {
        self.modules.contains_key(&module_path(file))
    }

    /// The modules of this crate that each module names. A re-export leads to the module that defines the name.
    pub(crate) fn arrows(&self) -> Vec<Arrow> {
        let mut arrows = Vec::new();
        for (from, module) in &self.modules {
            for reference in &module.references {
                if let Some(to) = self.origin(reference, 0)
                    && to != *from
                {
                    arrows.push(Arrow { from: from.clone(), to });
                }
            }
        }
        arrows
    }

    /// The `impl`s for a type of another top-level module, each as an arrow from the module of the type to that of
    /// the `impl`: users of the type call it without naming its module. A trait that the module itself defines makes
    /// no arrow: its users name the module.
    pub(crate) fn foreign_impls(&self) -> Vec<Arrow> {
        let mut arrows = Vec::new();
        for (at, module) in &self.modules {
            let top = |path: ModulePath| path.first().cloned();
            let own =
                |path: &Vec<String>| self.name_origin(at, module, path).and_then(top) == at.first().cloned();
            for one in &module.impls {
                let Some(of) = self.name_origin(at, module, &one.of_type) else { continue };
                if of.first() != at.first() && !one.of_trait.iter().chain(&one.arguments).any(own) {
                    arrows.push(Arrow { from: of, to: at.clone() });
                }
            }
        }
        arrows
    }

    /// The module that defines a type or a trait. None for another crate or the prelude.
    fn name_origin(&self, at: &ModulePath, module: &Module, path: &[String]) -> Option<ModulePath> {
        let first = path.first()?;
        if path.len() == 1 && module.defined.contains(first) {
            return Some(at.clone());
        }
        let (base, beginning) = match module.imports.get(first) {
            Some(import) => (&import.base, &import.path[..]),
            None => (at, &path[..1]),
        };
        let path = beginning.iter().chain(&path[1..]).cloned().collect();
        self.origin(&Reference { base: base.clone(), path }, 0)
    }

    /// The module that a path leads to. None for another crate.
    fn origin(&self, reference: &Reference, depth: usize) -> Option<ModulePath> {
        assert!(depth < 16, "endless re-exports: {reference:?}");
        let path = self.absolute(reference)?;
        // The longest beginning that is a file; what follows is an item of it, or an inline module.
        let length = (0..=path.len()).rev().find(|length| self.modules.contains_key(&path[..*length]))?;
        let (module, rest) = path.split_at(length);
        if let Some(import) = rest.first().and_then(|name| self.modules[module].imports.get(name)) {
            let path = import.path.iter().chain(&rest[1..]).cloned().collect();
            return self.origin(&Reference { base: import.base.clone(), path }, depth + 1);
        }
        Some(module.to_vec())
    }

    /// A path from the root of the crate. None for another crate.
    fn absolute(&self, reference: &Reference) -> Option<Vec<String>> {
        let Reference { base, path } = reference;
        let first = path.first()?.as_str();
        let supers = path.iter().take_while(|part| *part == "super").count();
        let (start, rest) = match first {
            "crate" => (&[][..], &path[1..]),
            "self" => (&base[..], &path[1..]),
            "super" => (base.get(..base.len().checked_sub(supers)?)?, &path[supers..]),
            _ => {
                let child: Vec<String> = base.iter().chain([&path[0]]).cloned().collect();
                self.modules.contains_key(&child).then_some((&base[..], &path[..]))?
            }
        };
        Some(start.iter().chain(rest).cloned().collect())
    }
}

/// `check/http/open.rs` is `check::http::open`, `check/mod.rs` is `check`, `lib.rs` is the root.
fn module_path(file: &Path) -> ModulePath {
    let parts = file.with_extension("");
    let mut path: ModulePath = parts.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    if path.last().is_some_and(|last| last == "mod") || path == ["lib"] {
        path.pop();
    }
    path
}

/// Collects what a file contains.
struct Reader {
    /// The module that is being read: that of the file, or an inline module in it.
    at: ModulePath,
    module: Module,
}

impl Reader {
    fn refer(&mut self, path: Vec<String>) {
        self.module.references.push(Reference { base: self.at.clone(), path });
    }

    fn import(&mut self, before: &[String], tree: &UseTree) {
        let with = |name: String| before.iter().cloned().chain([name]).collect::<Vec<_>>();
        let (name, path) = match tree {
            UseTree::Path(path) => return self.import(&with(path.ident.to_string()), &path.tree),
            UseTree::Group(group) => return group.items.iter().for_each(|tree| self.import(before, tree)),
            UseTree::Glob(_) => return self.refer(before.to_vec()),
            UseTree::Name(name) if name.ident == "self" => {
                (before.last().cloned().unwrap_or_default(), before.to_vec())
            }
            UseTree::Name(name) => (name.ident.to_string(), with(name.ident.to_string())),
            UseTree::Rename(rename) => (rename.rename.to_string(), with(rename.ident.to_string())),
        };
        self.refer(path.clone());
        self.module.imports.insert(name, Reference { base: self.at.clone(), path });
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attributes: &[Attribute] = match item {
            syn::Item::Fn(item) => &item.attrs,
            syn::Item::Impl(item) => &item.attrs,
            syn::Item::Mod(item) => &item.attrs,
            syn::Item::Use(item) => &item.attrs,
            _ => &[],
        };
        match item {
            syn::Item::Mod(item) if is_test(attributes) => {
                let name = item.ident.to_string();
                self.module.tests.push(self.at.iter().cloned().chain([name]).collect());
                return;
            }
            _ if is_test(attributes) => return,
            syn::Item::Struct(item) => drop(self.module.defined.insert(item.ident.to_string())),
            syn::Item::Enum(item) => drop(self.module.defined.insert(item.ident.to_string())),
            syn::Item::Trait(item) => drop(self.module.defined.insert(item.ident.to_string())),
            syn::Item::Type(item) => drop(self.module.defined.insert(item.ident.to_string())),
            _ => {}
        }
        visit::visit_item(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !is_test(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        self.at.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.at.pop();
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if item.leading_colon.is_none() {
            self.import(&[], &item.tree);
        }
    }

    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        if let Some(of_type) = type_path(&item.self_ty) {
            let path = item.trait_.as_ref().map(|(_, path, _)| path);
            let arguments = path.map(generic_types).unwrap_or_default();
            self.module.impls.push(Impl { of_trait: path.map(segments), arguments, of_type });
        }
        visit::visit_item_impl(self, item);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments = segments(path);
        if segments.len() > 1 && ["crate", "self", "super"].contains(&segments[0].as_str()) {
            self.refer(segments);
        }
        visit::visit_path(self, path);
    }

    /// The arguments of a macro are tokens. Paths in them are recognised by their beginning.
    fn visit_macro(&mut self, item: &'ast Macro) {
        let tokens = item.tokens.to_string().replace(" :: ", "::");
        for word in tokens.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':') {
            if ["crate::", "self::", "super::"].iter().any(|begin| word.starts_with(begin)) {
                self.refer(word.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect());
            }
        }
        visit::visit_macro(self, item);
    }
}

/// Whether an item is under `#[cfg(test)]`, `#[cfg(all(test, …))]` or `#[test]`.
pub(crate) fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let syn::Meta::List(list) = &attribute.meta else { return attribute.path().is_ident("test") };
        let condition = list.tokens.to_string();
        let has = |word: &str| condition.split(|c: char| !c.is_alphanumeric()).any(|part| part == word);
        attribute.path().is_ident("cfg") && has("test") && !has("not")
    })
}

fn segments(path: &syn::Path) -> Vec<String> {
    path.segments.iter().map(|segment| segment.ident.to_string()).collect()
}

/// The path of a type or of a referenced type. None for a tuple, a slice or the like.
fn type_path(of: &Type) -> Option<Vec<String>> {
    match of {
        Type::Path(path) => Some(segments(&path.path)),
        Type::Reference(reference) => type_path(&reference.elem),
        _ => None,
    }
}

/// The types in the angle brackets of a trait: `One` of `From<One>`.
fn generic_types(path: &syn::Path) -> Vec<Vec<String>> {
    let last = path.segments.last().map(|segment| &segment.arguments);
    let Some(PathArguments::AngleBracketed(arguments)) = last else { return Vec::new() };
    let types = arguments.args.iter().filter_map(|argument| match argument {
        syn::GenericArgument::Type(of) => type_path(of),
        _ => None,
    });
    types.collect()
}
