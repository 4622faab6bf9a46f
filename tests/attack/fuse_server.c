/* A FUSE server that lies: fuse_server MOUNTPOINT LIE. Prints "mounted", then a line a request. */
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { ROOT = FUSE_ROOT_ID, FILE_NODE = 2, DEVICE_NODE = 3 };
static const char TEXT[] = "/opt/lib\n";
static _Alignas(8) char request[1 << 20];
static int fd, turns;
static const char *lie;

static int is(const char *name) { return !strcmp(lie, name); }

static void answer(unsigned long long unique, int error, const void *data, size_t size) {
  char reply[4096];
  struct fuse_out_header head = {sizeof head + size, error, unique};
  memcpy(reply, &head, sizeof head);
  if (size) memcpy(reply + sizeof head, data, size);
  if (write(fd, reply, sizeof head + size) < 0) perror("reply");
}

static struct fuse_attr attributes(unsigned long long node) {
  struct fuse_attr found = {.ino = node, .nlink = 1, .blksize = 4096};
  found.mode = node == ROOT ? S_IFDIR | 0755 : S_IFREG | 0644;
  found.size = node == FILE_NODE ? sizeof TEXT - 1 : 0;
  if (node == DEVICE_NODE) found.mode = S_IFCHR | 0666, found.rdev = makedev(1, 5);
  if (node == FILE_NODE && is("inode")) found.ino = 100 + turns++;
  return found;
}

static void lookup(struct fuse_in_header *head) {
  struct fuse_entry_out found = {.nodeid = FILE_NODE};
  if (is("stale")) return answer(head->unique, -116, 0, 0);
  if (is("device") || (is("turns") && turns++)) found.nodeid = DEVICE_NODE;
  found.attr = attributes(found.nodeid);
  answer(head->unique, 0, &found, sizeof found);
  if (is("asleep")) for (;;) pause();
}

static void opened(struct fuse_in_header *head) {
  struct fuse_open_out handle = {.open_flags = FOPEN_DIRECT_IO};
  int refused = head->opcode == FUSE_OPEN && (is("missing") || is("turns"));
  answer(head->unique, refused ? -2 : 0, &handle, refused ? 0 : sizeof handle);
}

static void content(struct fuse_in_header *head) {
  struct fuse_read_in *wanted = (void *)(head + 1);
  if (is("broken")) return answer(head->unique, -5, 0, 0);
  answer(head->unique, 0, TEXT, wanted->offset ? 0 : sizeof TEXT - 1);
}

static void serve(struct fuse_in_header *head) {
  struct fuse_init_out init = {.major = FUSE_KERNEL_VERSION, .minor = 31, .max_write = 4096};
  struct fuse_attr_out status = {.attr = attributes(head->nodeid)};
  struct fuse_statfs_out system = {.st.bsize = 4096, .st.namelen = 255};
  switch (head->opcode) {
    case FUSE_INIT: return answer(head->unique, 0, &init, sizeof init);
    case FUSE_LOOKUP: return lookup(head);
    case FUSE_GETATTR: return answer(head->unique, 0, &status, sizeof status);
    case FUSE_STATFS: return answer(head->unique, 0, &system, sizeof system);
    case FUSE_OPEN: case FUSE_OPENDIR: return opened(head);
    case FUSE_READ: return content(head);
    case FUSE_READDIR: case FUSE_RELEASE: case FUSE_RELEASEDIR: case FUSE_FLUSH:
      return answer(head->unique, 0, 0, 0);
    case FUSE_FORGET: case FUSE_BATCH_FORGET: case FUSE_INTERRUPT: return;
    default: return answer(head->unique, -38, 0, 0);
  }
}

int main(int argc, char **argv) {
  char options[128];
  lie = argv[2];
  fd = open("/dev/fuse", O_RDWR);
  snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", fd);
  if (argc != 3 || fd < 0 || mount("liar", argv[1], "fuse", 0, options)) return perror("mount"), 1;
  puts("mounted"), fflush(stdout);
  while (read(fd, request, sizeof request) > 0) {
    struct fuse_in_header *head = (void *)request;
    printf("%u\n", head->opcode), fflush(stdout);
    serve(head);
    if (head->opcode == FUSE_INIT && is("silent")) for (;;) pause();
  }
}
