
# Sourced by nginx's configure to add rules to its makefile

lrt_html=$ngx_addon_dir/ngx_http_lrt_upstream_module/dashboard.html
lrt_page=$NGX_OBJS/lrt_dashboard_html.h

cat << END                                                    >> $NGX_MAKEFILE

$lrt_page:	$lrt_html
	( echo 'static const u_char  lrt_dashboard_html[] = {'; \\
	  od -An -v -tu1 $lrt_html | sed -e 's/[0-9][0-9]*/&,/g'; \\
	  echo '};' ) > \$@

$NGX_OBJS/addon/ngx_http_lrt_upstream_module/ngx_http_lrt_dashboard.$ngx_objext:	\\
	$lrt_page
END
