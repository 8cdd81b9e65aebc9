/* What a step does on the host, for each tensor and each launch: looks at tensors, and launches kernels.
 *
 * _native.py compiles it; _native_gather.py and _native_launch.py call it.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

static PyObject *grad, *data_ptr;

typedef struct {
    void *data;
    int64_t device;              /* kind, and index in the upper half */
    int64_t kind;                /* dimensions, and dtype in the upper half */
    int64_t *shape, *stride;
    uint64_t offset;
} View;
typedef int (*Fill)(PyObject *, View *);

/* Whether a tensor is what it was: all but its address. */
static int same(const View *view, int64_t device, int64_t kind, const int64_t *shape, const int64_t *stride, int64_t count)
{
    if (view->device != device || view->kind != kind || view->offset != 0) return 0;
    int dims = (int)(kind & 0x7fffffff);
    for (int d = 0; d < dims; d++) {
        if (view->shape[d] != shape[d]) return 0;
        if (view->stride[d] != stride[d] && shape[d] > 1 && count > 1) return 0;
    }
    return 1;
}

/* Places in the objects of tensors, in words of 8 bytes, in the order of TensorWords (_compat/tensor_words.py). */
enum { TENSOR, STORAGE, DIMS, SIZES, STRIDES, OFFSET, DTYPE, KEYS, NEGATED, DATA, MOST_DIMS };
enum { DATA_WORDS = 3, SEEN = 4 + DATA_WORDS };

/* Whether the elements of a tensor are to be read with the other sign, which torch's function does not say. */
static int negated(PyObject *one, const int64_t *words)
{
    const uint64_t *tensor = ((const uint64_t **)one)[words[TENSOR]];
    return tensor != NULL && tensor[words[KEYS]] >> words[NEGATED] & 1;
}

/* Whether the words of a tensor are those that were noted: then it is what it was, and torch need not be asked.
 *
 * Nothing is read at an address that was noted, unless the live tensor has it: what was noted may have been freed.
 */
static int unchanged(
    PyObject *one, const int64_t *words, const int64_t *seen, int dims, const int64_t *shape, const int64_t *stride)
{
    const int64_t *tensor = ((const int64_t **)one)[words[TENSOR]];
    if (tensor == NULL || (int64_t)(intptr_t)tensor != seen[0]) return 0;
    if (tensor[words[STORAGE]] != seen[1] || tensor[words[OFFSET]] != seen[2] || tensor[words[DTYPE]] != seen[3]) return 0;
    if (tensor[words[DIMS]] != dims || negated(one, words)) return 0;
    for (int d = 0; d < dims; d++)
        if (tensor[words[SIZES] + d] != shape[d] || tensor[words[STRIDES] + d] != stride[d]) return 0;
    const int64_t *storage = (const int64_t *)(intptr_t)seen[1];
    return memcmp(storage + words[DATA], seen + 4, DATA_WORDS * sizeof(int64_t)) == 0;
}

/* Note the words of a tensor that torch was asked about. */
static void note(PyObject *one, const int64_t *words, int64_t *seen)
{
    const int64_t *tensor = ((const int64_t **)one)[words[TENSOR]];
    seen[0] = (int64_t)(intptr_t)tensor;
    seen[1] = tensor[words[STORAGE]];
    seen[2] = tensor[words[OFFSET]];
    seen[3] = tensor[words[DTYPE]];
    memcpy(seen + 4, (const int64_t *)(intptr_t)seen[1] + words[DATA], DATA_WORDS * sizeof(int64_t));
}

/* look(tensors, plain, fill, device, address, kind, first, shape, stride, count, seen, words)
 *
 * tensors: a tuple of the parameters, then the first state of each, and so on. plain: the class of gradients. All others
 * are addresses, of arrays of 64-bit integers: address and kind have a row for parameters, one for gradients, one for each
 * state. seen: what is noted of each tensor. words: where torch has that, or 0.
 *
 * Gives 2 for every gradient that is None, and 1 more if the address of a gradient is new; -1 if anything else is.
 */
static PyObject *look(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    if (count != 12 || !PyTuple_Check(args[0])) {
        PyErr_SetString(PyExc_TypeError, "look takes a tuple and eleven more arguments");
        return NULL;
    }
    int64_t given[10];
    for (int i = 0; i < 10; i++) {
        given[i] = PyLong_AsLongLong(args[i + 2]);
        if (given[i] == -1 && PyErr_Occurred()) return NULL;
    }
    Fill fill = (Fill)(intptr_t)given[0];
    int64_t device = given[1], *address = (int64_t *)(intptr_t)given[2];
    const int64_t *kind = (const int64_t *)(intptr_t)given[3], *first = (const int64_t *)(intptr_t)given[4];
    const int64_t *shape = (const int64_t *)(intptr_t)given[5], *stride = (const int64_t *)(intptr_t)given[6];
    const int64_t *numel = (const int64_t *)(intptr_t)given[7];
    int64_t *seen = (int64_t *)(intptr_t)given[8];
    const int64_t *words = (const int64_t *)(intptr_t)given[9];
    PyObject *tensors = args[0];
    /* first ends with the number of dimensions of all parameters, and after that the number of parameters */
    Py_ssize_t n = (Py_ssize_t)first[-1], rows = PyTuple_GET_SIZE(tensors) / n + 1;
    long answer = 0;
    View view;
    for (Py_ssize_t row = 0; row < rows; row++) {
        for (Py_ssize_t i = 0; i < n; i++) {
            int64_t *at = address + row * n + i, *known = seen + (row * n + i) * SEEN;
            int dims = (int)(kind[row * n + i] & 0x7fffffff);
            PyObject *one;
            if (row == 1) {
                one = PyObject_GetAttr(PyTuple_GET_ITEM(tensors, i), grad);
                if (one == NULL) return NULL;
                if (one == Py_None) {
                    Py_DECREF(one);
                    if (*at != 0) answer |= 1;
                    *at = 0;
                    answer += 2;
                    continue;
                }
                if ((PyObject *)Py_TYPE(one) != args[1]) {
                    Py_DECREF(one);
                    return PyLong_FromLong(-1);
                }
            } else {
                one = PyTuple_GET_ITEM(tensors, row > 1 ? (row - 1) * n + i : i);
                if (words && unchanged(one, words, known, dims, shape + first[i], stride + first[i])) continue;
                Py_INCREF(one);
            }
            if (words && negated(one, words)) {
                Py_DECREF(one);
                return PyLong_FromLong(-1);
            }
            int failed = fill(one, &view);
            Py_DECREF(one); /* its parameter, or the tuple, holds it */
            if (failed) {
                PyErr_Clear();
                return PyLong_FromLong(-1);
            }
            int64_t now = (int64_t)(intptr_t)view.data;
            if (!same(&view, device, kind[row * n + i], shape + first[i], stride + first[i], numel[i]))
                return PyLong_FromLong(-1);
            if (row == 1) {
                if (now == 0) return PyLong_FromLong(-1);
                if (*at != now) answer |= 1;
                *at = now;
            } else if (*at != now) {
                return PyLong_FromLong(-1);
            } else if (words && dims <= words[MOST_DIMS]) {
                note(one, words, known);
            }
        }
    }
    return PyLong_FromLong(answer);
}

typedef int (*Launch)(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *, void **, void **);

enum { MOST_ARGUMENTS = 190 };
enum { ENTRY, FUNCTION, X, Y, Z, THREADS, SHARED, FIXED, COUNT, VALUES };

/* launch(description, stream, ...): what comes after the stream are the arguments after the fixed ones.
 *
 * description: the address of 64-bit integers: the driver's function, the kernel, the grid, threads, bytes of shared memory,
 * how many arguments are fixed and how many there are; then the value of each argument; then 1 for each that is a double.
 * Gives what the driver gives: 0, or the number of an error.
 */
static PyObject *launch(PyObject *self, PyObject *const *args, Py_ssize_t given)
{
    if (given < 2) {
        PyErr_SetString(PyExc_TypeError, "launch takes a description and a stream");
        return NULL;
    }
    const int64_t *about = (const int64_t *)(intptr_t)PyLong_AsLongLong(args[0]);
    void *stream = (void *)(intptr_t)PyLong_AsLongLong(args[1]);
    if (PyErr_Occurred()) return NULL;
    int64_t count = about[COUNT], fixed = about[FIXED];
    if (count > MOST_ARGUMENTS || given - 2 != count - fixed) {
        PyErr_Format(PyExc_TypeError, "a kernel of %lld arguments was given %zd after %lld", count, given - 2, fixed);
        return NULL;
    }
    if (about[X] * about[Y] * about[Z] == 0) return PyLong_FromLong(0);
    int64_t values[MOST_ARGUMENTS + 2];
    void *places[MOST_ARGUMENTS + 2];
    const int64_t *real = about + VALUES + count;
    memcpy(values, about + VALUES, count * sizeof(int64_t));
    for (int64_t i = fixed; i < count; i++) {
        PyObject *one = args[2 + i - fixed];
        if (real[i]) {
            double number = PyFloat_AsDouble(one);
            if (number == -1 && PyErr_Occurred()) return NULL;
            memcpy(values + i, &number, sizeof(double));
        } else if (PyLong_Check(one)) {
            values[i] = PyLong_AsLongLong(one);
        } else {
            PyObject *address = PyObject_CallMethodNoArgs(one, data_ptr);
            if (address == NULL) return NULL;
            values[i] = PyLong_AsLongLong(address);
            Py_DECREF(address);
        }
    }
    if (PyErr_Occurred()) return NULL;
    /* Triton adds two addresses of memory to every kernel, which these do not use. */
    values[count] = values[count + 1] = 0;
    for (int64_t i = 0; i < count + 2; i++) places[i] = values + i;
    int result;
    Py_BEGIN_ALLOW_THREADS
    result = ((Launch)(intptr_t)about[ENTRY])((void *)(intptr_t)about[FUNCTION], (unsigned)about[X], (unsigned)about[Y],
        (unsigned)about[Z], (unsigned)about[THREADS], 1, 1, (unsigned)about[SHARED], stream, places, NULL);
    Py_END_ALLOW_THREADS
    return PyLong_FromLong(result);
}

static PyMethodDef methods[] = {
    {"look", (PyCFunction)(void (*)(void))look, METH_FASTCALL, NULL},
    {"launch", (PyCFunction)(void (*)(void))launch, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "ravine_native", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_ravine_native(void)
{
    grad = PyUnicode_InternFromString("grad");
    data_ptr = PyUnicode_InternFromString("data_ptr");
    PyObject *made = grad && data_ptr ? PyModule_Create(&module) : NULL;
    if (made && PyModule_AddIntConstant(made, "MOST_ARGUMENTS", MOST_ARGUMENTS)) Py_CLEAR(made);
    return made;
}
