/* The functions of libcudart that ehrnet_tf/runtime/cuda.py calls, over the memory of the host.
 *
 * What is put on a stream happens when the stream is waited for, not before: code that reads too early reads old values.
 * Memory of the device, page-locked memory and mapped memory are told apart, and every range is checked.
 */
#include <stdlib.h>
#include <string.h>

enum { NONE, DEVICE, PINNED, MAPPED };
enum { INVALID_VALUE = 1, OUT_OF_MEMORY = 2, INSUFFICIENT_DRIVER = 35, NO_DEVICE = 100 };

typedef struct { char *start; size_t size; int kind; } Block;
typedef struct { void *target; const void *source; size_t size; void (*function)(void); } Work;
typedef struct { Work work[64]; int count; } Stream;

static Block blocks[256];
static char failing[64];
static int failure;

int fake_devices = 1, fake_integrated = 0, fake_streams = 0, fake_copies = 0;

static Block *find(const void *address, size_t size) {
    for (int i = 0; i < 256; i++) {
        Block *b = &blocks[i];
        if (b->kind && (char *)address >= b->start && (char *)address + size <= b->start + b->size) return b;
    }
    return NULL;
}

static int fails(const char *name) { return strcmp(name, failing) ? 0 : failure; }

static int allocate(void **address, size_t size, int kind) {
    for (int i = 0; i < 256; i++) {
        if (blocks[i].kind) continue;
        blocks[i] = (Block){malloc(size), size, kind};
        memset(blocks[i].start, 0xCD, size);
        *address = blocks[i].start;
        return 0;
    }
    return OUT_OF_MEMORY;
}

static int release(void *address, int device) {
    Block *b = find(address, 0);
    if (!b || b->start != address || (b->kind == DEVICE) != device) return INVALID_VALUE;
    free(b->start);
    b->kind = NONE;
    return 0;
}

/* What tests ask and set. */
void fake_fail(const char *name, int code) { strncpy(failing, name, sizeof failing - 1); failure = code; }
int fake_kind(const void *address, size_t size) { Block *b = find(address, size); return b ? b->kind : NONE; }
int fake_blocks(void) { int n = 0; for (int i = 0; i < 256; i++) n += blocks[i].kind != NONE; return n; }
int fake_enqueue(Stream *stream, void (*function)(void)) {
    stream->work[stream->count++] = (Work){NULL, NULL, 0, function};
    return 0;
}

/* The library's. */
const char *cudaGetErrorString(int code) {
    return code == OUT_OF_MEMORY ? "out of memory" : code == INVALID_VALUE ? "invalid argument"
        : code == NO_DEVICE ? "no CUDA-capable device is detected"
        : code == INSUFFICIENT_DRIVER ? "CUDA driver version is insufficient for CUDA runtime version" : "unknown error";
}

int cudaGetDeviceCount(int *count) {
    *count = fake_devices;
    return fails("cudaGetDeviceCount") ? fails("cudaGetDeviceCount") : fake_devices ? 0 : NO_DEVICE;
}

int cudaDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == 18 ? fake_integrated : attribute == 19 ? 1 : attribute == 75 ? 8 : attribute == 76 ? 7 : -1;
    return device || *value < 0 ? INVALID_VALUE : 0;
}

int cudaGetDeviceProperties(char *properties, int device) {
    memset(properties, 0xAA, 1032);
    strcpy(properties, fake_integrated ? "Orin" : "Fake GPU");
    return device ? INVALID_VALUE : 0;
}

int cudaMalloc(void **address, size_t size) {
    return fails("cudaMalloc") ? fails("cudaMalloc") : allocate(address, size, DEVICE);
}

int cudaHostAlloc(void **address, size_t size, unsigned flags) {
    return fails("cudaHostAlloc") ? fails("cudaHostAlloc") : allocate(address, size, flags & 2 ? MAPPED : PINNED);
}

int cudaHostGetDevicePointer(void **address, void *host, unsigned flags) {
    *address = host;
    return flags || fake_kind(host, 1) != MAPPED ? INVALID_VALUE : fails("cudaHostGetDevicePointer");
}

int cudaFree(void *address) { return release(address, 1); }
int cudaFreeHost(void *address) { return release(address, 0); }

int cudaStreamCreateWithFlags(Stream **stream, unsigned flags) {
    *stream = calloc(1, sizeof **stream);
    fake_streams++;
    return flags == 1 ? 0 : INVALID_VALUE;
}

int cudaStreamDestroy(Stream *stream) {
    free(stream);
    fake_streams--;
    return 0;
}

int cudaMemcpyAsync(void *target, const void *source, size_t size, int kind, Stream *stream) {
    int expected_target = kind == 1 ? DEVICE : PINNED, expected_source = kind == 1 ? PINNED : DEVICE;
    if (fake_kind(target, size) != expected_target || fake_kind(source, size) != expected_source) return INVALID_VALUE;
    stream->work[stream->count++] = (Work){target, source, size, NULL};
    fake_copies++;
    return fails("cudaMemcpyAsync");
}

int cudaStreamSynchronize(Stream *stream) {
    for (int i = 0; i < stream->count; i++) {
        Work *w = &stream->work[i];
        if (w->function) w->function();
        else memcpy(w->target, w->source, w->size);
    }
    stream->count = 0;
    return fails("cudaStreamSynchronize");
}
