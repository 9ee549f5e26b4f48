"""The XML that the bench's server answers with, and the one body of XML that it reads."""
import bisect
import email.utils
import time
import xml.etree.ElementTree
from urllib.parse import quote
from xml.sax.saxutils import escape

NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


def document(name, inner):
    return ('<?xml version="1.0" encoding="UTF-8"?>\n<%s %s>%s</%s>' % (name, NAMESPACE, inner, name)).encode()


def http_date(seconds):
    return email.utils.formatdate(seconds, usegmt=True)


def iso_date(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(seconds))


def objects(bucket, query):
    """One page of a listing, of either version of the call."""
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    most = min(int(query.get("max-keys") or 1000), 1000)
    second = query.get("list-type") == "2"
    after = query.get("continuation-token") or query.get("start-after") if second else query.get("marker")
    told = (lambda text: quote(text, safe="/")) if query.get("encoding-type") == "url" else escape
    contents, folders, last = [], [], ""
    at = max(bisect.bisect_left(bucket.keys, prefix), bisect.bisect_right(bucket.keys, after) if after else 0)
    more = False
    while at < len(bucket.keys) and bucket.keys[at].startswith(prefix):
        key = bucket.keys[at]
        cut = key.find(delimiter, len(prefix)) if delimiter else -1
        if len(contents) + len(folders) == most and not (cut >= 0 and last == key[:cut + len(delimiter)]):
            more = True
            break
        if cut >= 0:
            last = key[:cut + len(delimiter)]
            if last != after:
                folders.append("<CommonPrefixes><Prefix>%s</Prefix></CommonPrefixes>" % told(last))
            at = bisect.bisect_left(bucket.keys, last + "\U0010ffff")
            continue
        stored, last = bucket.objects[key], key
        contents.append("<Contents><Key>%s</Key><LastModified>%s</LastModified><ETag>&quot;%s&quot;</ETag><Size>%d"
                        "</Size><StorageClass>STANDARD</StorageClass></Contents>" % (
                            told(key), iso_date(stored.modified), stored.etag, stored.size))
        at += 1
    head = "<Name>b</Name><Prefix>%s</Prefix><MaxKeys>%d</MaxKeys><IsTruncated>%s</IsTruncated>" % (
        told(prefix), most, "true" if more else "false")
    head += "<Delimiter>%s</Delimiter>" % told(delimiter) if delimiter else ""
    head += "<EncodingType>url</EncodingType>" if query.get("encoding-type") == "url" else ""
    head += "<KeyCount>%d</KeyCount>" % (len(contents) + len(folders)) if second else ""
    if more:
        head += ("<NextContinuationToken>%s</NextContinuationToken>" % escape(last) if second
                 else "<NextMarker>%s</NextMarker>" % told(last))
    return document("ListBucketResult", head + "".join(contents) + "".join(folders))


def buckets(world):
    names = "".join("<Bucket><Name>%s</Name><CreationDate>%s</CreationDate></Bucket>" % (escape(name), iso_date(0))
                    for name in list(world.buckets))
    return document("ListAllMyBucketsResult", "<Owner><ID>b</ID></Owner><Buckets>%s</Buckets>" % names)


def copied(name, stored):
    return document(name, "<LastModified>%s</LastModified><ETag>&quot;%s&quot;</ETag>" % (
        iso_date(stored.modified), stored.etag))


def upload(bucket, key, name):
    return document("InitiateMultipartUploadResult", "<Bucket>%s</Bucket><Key>%s</Key><UploadId>%s</UploadId>" % (
        escape(bucket), escape(key), name))


def completed(bucket, key, stored):
    return document("CompleteMultipartUploadResult", "<Bucket>%s</Bucket><Key>%s</Key><ETag>&quot;%s&quot;</ETag>" % (
        escape(bucket), escape(key), stored.etag))


def no_uploads():
    return document("ListMultipartUploadsResult", "<IsTruncated>false</IsTruncated>")


def location():
    return document("LocationConstraint", "us-east-1")


def error(code):
    return ("<Error><Code>%s</Code><Message>%s</Message></Error>" % (code, code)).encode()


def keys_to_delete(body):
    return [node.text for node in xml.etree.ElementTree.fromstring(body).iter() if node.tag.endswith("Key")]


def deleted(keys):
    return document("DeleteResult", "".join("<Deleted><Key>%s</Key></Deleted>" % escape(key) for key in keys))
