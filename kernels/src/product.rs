//! Matrix products, by the `gemm` crate: `f32`, several threads for large ones, in place.

use gemm::Parallelism;

/// Products of fewer multiplications than this stay on one thread.
const SMALL: usize = 1 << 18;

/// A row-major matrix, or its transpose, over a slice.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    transposed: bool,
}

impl<'a> Matrix<'a> {
    /// `[rows, columns]`, row by row.
    ///
    /// # Panics
    /// If the slice holds another number of elements.
    pub fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        assert_eq!(data.len(), rows * columns, "a matrix of {rows} x {columns}");
        Self {
            data,
            rows,
            columns,
            transposed: false,
        }
    }

    /// The transpose, `[columns, rows]`, over the same slice.
    pub fn transpose(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            transposed: !self.transposed,
            ..self
        }
    }

    /// Distance in the slice from one row to the next, and from one column to the next.
    fn strides(&self) -> (isize, isize) {
        if self.transposed {
            (1, self.rows as isize)
        } else {
            (self.columns as isize, 1)
        }
    }
}

/// `out = a b`, or `out += a b` with `add`; `out` is row-major.
///
/// # Panics
/// If the shapes do not fit each other.
pub fn multiply(a: Matrix<'_>, b: Matrix<'_>, out: &mut [f32], add: bool) {
    let (m, k, n) = (a.rows, a.columns, b.columns);
    assert_eq!(k, b.rows, "columns of the left, rows of the right");
    assert_eq!(out.len(), m * n, "the product is {m} x {n}");
    let threads = if m * n * k < SMALL {
        Parallelism::None
    } else {
        Parallelism::Rayon(0)
    };
    let ((a_row, a_column), (b_row, b_column)) = (a.strides(), b.strides());
    // SAFETY: the assertions here and in `Matrix::new` keep every index inside its slice, and `out` is borrowed
    // exclusively, so that it overlaps neither operand.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n as isize,
            add,
            a.data.as_ptr(),
            a_column,
            a_row,
            b.data.as_ptr(),
            b_column,
            b_row,
            1.0,
            1.0,
            false,
            false,
            false,
            threads,
        );
    }
}
