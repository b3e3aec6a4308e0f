// Streaming load client: sseclient PORT CONC ROUNDS PATH BODYFILE [HEADER...]  -> JSON line with TTFC, gaps, chunks
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <errno.h>
#include <time.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <arpa/inet.h>
typedef struct {int fd;long long t0,last;int first;int rounds;char tail[32];int tl;int done;} conn;
static long long now(){struct timespec t;clock_gettime(CLOCK_MONOTONIC,&t);return t.tv_sec*1000000LL+t.tv_nsec/1000;}
static int cmp(const void*a,const void*b){float x=*(float*)a,y=*(float*)b;return x<y?-1:x>y;}
static float pct(float*a,long n,double p){if(!n)return -1;long i=(long)(p*(n-1));return a[i];}
int main(int argc,char**argv){
  int port=atoi(argv[1]),C=atoi(argv[2]),R=atoi(argv[3]);char*path=argv[4];
  static char body[1<<20];FILE*f=fopen(argv[5],"r");int bl=fread(body,1,sizeof body,f);fclose(f);
  static char req[(1<<20)+16384];int rl=sprintf(req,"POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\nAccept: text/event-stream\r\n",path,port);
  for(int i=6;i<argc;i++)rl+=sprintf(req+rl,"%s\r\n",argv[i]);
  rl+=sprintf(req+rl,"Content-Length: %d\r\n\r\n",bl);memcpy(req+rl,body,bl);rl+=bl;
  int ep=epoll_create1(0);conn*cs=calloc(C,sizeof(conn));
  float*ttf=malloc(sizeof(float)*C*R),*gap=malloc(sizeof(float)*20000000),*tot=malloc(sizeof(float)*C*R);long nt=0,ng=0,ntot=0;long long chunks=0,bytes=0;int left=C,err=0,done200=0;
  long long T0=now();
  for(int i=0;i<C;i++){conn*c=cs+i;c->fd=socket(AF_INET,SOCK_STREAM,0);struct sockaddr_in a={.sin_family=AF_INET,.sin_port=htons(port)};a.sin_addr.s_addr=htonl(INADDR_LOOPBACK);
    if(connect(c->fd,(void*)&a,sizeof a)){perror("connect");return 1;}int one=1;setsockopt(c->fd,IPPROTO_TCP,TCP_NODELAY,&one,4);
    struct epoll_event e={.events=EPOLLIN,.data.ptr=c};epoll_ctl(ep,EPOLL_CTL_ADD,c->fd,&e);
    // spread starts over 10ms so that phases differ
    c->last=0;c->first=1;c->tl=0;}
  int nxt=0;T0=now();long long step=10000/C;
  struct epoll_event ev[256];static char buf[262144+64];
  while(left>0){
    while(nxt<C&&now()>=T0+nxt*step){conn*c=cs+nxt++;c->t0=now();if(write(c->fd,req,rl)!=rl){perror("write");return 1;}}
    struct timespec ts={15,0}; if(nxt<C){long long d=T0+nxt*step-now();if(d<0)d=0;ts.tv_sec=0;ts.tv_nsec=d*1000;}
    int n=epoll_pwait2(ep,ev,256,&ts,0);if(n<=0&&nxt<C)continue;if(n<=0){fprintf(stderr,"timeout left=%d\n",left);err=left;break;}
    for(int i=0;i<n;i++){conn*c=ev[i].data.ptr;memcpy(buf,c->tail,c->tl);int r=read(c->fd,buf+c->tl,262144);
      if(r<=0){err++;left--;epoll_ctl(ep,EPOLL_CTL_DEL,c->fd,0);close(c->fd);continue;}
      long long t=now();bytes+=r;int n2=c->tl+r;
      // count events ("data: {" ) in new area, allow overlap of 6 chars
      int from=c->tl>6?c->tl-6:0;char*p=buf+from;int k=0,dn=0;
      while((p=memmem(p,buf+n2-p,"data: ",6))){ if(p+6<buf+n2){ if(p[6]=='['){dn=1;} else k++; p+=6;} else {break;} }
      // an event whose "data: " ends exactly at buffer end is counted next time: keep tail
      if(k){ if(c->first){ttf[nt++]=t-c->t0;c->first=0;} else if(ng<20000000)gap[ng++]=t-c->last; c->last=t; chunks+=k;}
      if(dn){c->done=1;}
      int fin=0; if(c->done){ if(n2>=5&&(!memcmp(buf+n2-5,"0\r\n\r\n",5)))fin=1; }
      int keep=n2<6?n2:6; memmove(c->tail,buf+n2-keep,keep);c->tl=keep;
      if(fin){tot[ntot++]=t-c->t0;done200++;c->done=0;c->tl=0;c->rounds++; if(c->rounds>=R){left--;epoll_ctl(ep,EPOLL_CTL_DEL,c->fd,0);close(c->fd);} else {c->t0=now();c->first=1;if(write(c->fd,req,rl)!=rl)return 1;}}
    }}
  long long T1=now();qsort(ttf,nt,4,cmp);qsort(gap,ng,4,cmp);qsort(tot,ntot,4,cmp);
  printf("{\"streams\":%ld,\"err\":%d,\"chunks\":%lld,\"reads\":%ld,\"wall_s\":%.3f,\"chunks_per_s\":%.0f,\"ttfc_p50_ms\":%.3f,\"ttfc_p99_ms\":%.3f,\"gap_p50_ms\":%.3f,\"gap_p99_ms\":%.3f,\"total_p50_ms\":%.1f,\"bytes\":%lld}\n",ntot,err,chunks,ng+nt,(T1-T0)/1e6,chunks/((T1-T0)/1e6),pct(ttf,nt,.5)/1e3,pct(ttf,nt,.99)/1e3,pct(gap,ng,.5)/1e3,pct(gap,ng,.99)/1e3,pct(tot,ntot,.5)/1e3,bytes);
  return err?2:0;}
