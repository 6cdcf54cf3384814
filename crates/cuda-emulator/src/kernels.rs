//! Finds the kernels of a preprocessed CUDA source.

/// A kernel's name and what stands between the brackets of its `__launch_bounds__`.
#[derive(Debug, PartialEq, Eq)]
pub struct Kernel {
    pub name: String,
    pub bounds: String,
}

/// The kernels of `text`, which has been through the preprocessor: no comments, and macros that declare kernels are
/// written out. Every `__global__` must belong to an `extern "C"` definition, since only those have names to launch by.
pub fn find(text: &str) -> Result<Vec<Kernel>, String> {
    let mut kernels: Vec<Kernel> = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("__global__") {
        let before = rest[..at].trim_end();
        rest = &rest[at + "__global__".len()..];
        let kernel = read(rest)?;
        if !before.ends_with("extern \"C\"") {
            return Err(format!("the kernel {} is not declared extern \"C\" __global__", kernel.name));
        }
        if kernels.iter().all(|known| known.name != kernel.name) {
            kernels.push(kernel);
        }
    }
    Ok(kernels)
}

/// Reads `void NAME(` with `__launch_bounds__(..)` before or after `void`.
fn read(text: &str) -> Result<Kernel, String> {
    let mut rest = text.trim_start();
    let mut bounds = String::new();
    loop {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        rest = after.trim_start();
        match word {
            "void" => {}
            "__launch_bounds__" => {
                let end = closing(rest).ok_or("__launch_bounds__ without its closing bracket")?;
                bounds = rest[1..end].trim().to_owned();
                rest = rest[end + 1..].trim_start();
            }
            "" => return Err(format!("__global__ without a kernel after it: {:.40}", text.trim_start())),
            name if rest.starts_with('(') => return Ok(Kernel { name: name.to_owned(), bounds }),
            other => return Err(format!("{other} between __global__ and the kernel's name is not understood")),
        }
    }
}

/// Where the bracket closes that `text` begins with.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return (at > 0).then_some(at);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(name: &str, bounds: &str) -> Kernel {
        Kernel { name: name.to_owned(), bounds: bounds.to_owned() }
    }

    #[test]
    fn finds_names_and_bounds() {
        let text = r#"
            template <class T> __device__ void helper(T* x) {}
            extern "C" __global__ void first(float* x, unsigned n) {}
            extern "C"
            __global__ void __launch_bounds__(32 * (4), 2)
            second(struct Settings s) {}
            extern "C" __global__ __launch_bounds__(64) void third_f64() {}
            extern "C" __global__ void first(float* x, unsigned n);
        "#;
        let expected = [kernel("first", ""), kernel("second", "32 * (4), 2"), kernel("third_f64", "64")];
        assert_eq!(find(text).unwrap(), expected);
    }

    #[test]
    fn says_what_it_does_not_understand() {
        assert!(find("__global__ void plain() {}").unwrap_err().contains("plain is not declared extern"));
        assert!(find("extern \"C\" __global__ int f() {}").unwrap_err().contains("int between"));
        assert!(find("extern \"C\" __global__ ").unwrap_err().contains("without a kernel"));
    }
}
